//! What a `ScaledObject` says, with KEDA's and Kubernetes' own defaults for what it leaves open.

use serde_json::Value;

use crate::deploy::manifests::{object, overlay};

/// What the autoscaling of one deployment goes by; times in seconds.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Names of triggers with the keys they count.
    pub triggers: Vec<(String, String)>,
    /// What is made of the counts.
    pub formula: String,
    /// As much of it is one replica's.
    pub target: f64,
    /// More of it wakes a deployment of none.
    pub activation: f64,
    /// Between two looks of KEDA.
    pub polling: u64,
    /// From the last activity to none.
    pub cooldown: u64,
    /// The least, for KEDA.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// How it grows.
    pub up: Rules,
    /// How it shrinks.
    pub down: Rules,
}

/// How fast a deployment may grow or shrink.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The most cautious wish of so many seconds counts.
    pub window: u64,
    /// The widest of these counts.
    pub policies: Vec<Policy>,
}

/// At most so much within a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Of what it was at the beginning of the time, or just so many.
    pub percent: bool,
    /// How much.
    pub value: u32,
    /// The time.
    pub period: u64,
}

impl Spec {
    /// That of the self-contained overlay.
    pub fn of_the_manifests() -> Self {
        Self::of(object(&overlay("k8s"), "ScaledObject", "worker"))
    }

    /// What this `ScaledObject` says.
    pub fn of(scaled: &Value) -> Self {
        let spec = &scaled["spec"];
        let modifiers = &spec["advanced"]["scalingModifiers"];
        let number = |value: &Value| value.as_str().map(|text| text.parse::<f64>().expect("a number"));
        let behavior = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
        let triggers = spec["triggers"].as_array().unwrap().iter().map(|trigger| {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            (text(&trigger["name"]), text(&trigger["metadata"]["listName"]))
        });
        Self {
            triggers: triggers.collect(),
            formula: modifiers["formula"].as_str().expect("a formula").to_owned(),
            target: number(&modifiers["target"]).expect("a target"),
            activation: number(&modifiers["activationTarget"]).unwrap_or(0.0),
            polling: spec["pollingInterval"].as_u64().unwrap_or(30),
            cooldown: spec["cooldownPeriod"].as_u64().unwrap_or(300),
            min: spec["minReplicaCount"].as_u64().unwrap_or(0) as u32,
            max: spec["maxReplicaCount"].as_u64().unwrap_or(100) as u32,
            up: Rules::of(
                &behavior["scaleUp"],
                Rules { window: 0, policies: vec![Policy::percent(100), Policy::pods(4)] },
            ),
            down: Rules::of(&behavior["scaleDown"], Rules { window: 300, policies: vec![Policy::percent(100)] }),
        }
    }
}

impl Policy {
    /// So many percent in 15 seconds.
    pub fn percent(value: u32) -> Self {
        Self { percent: true, value, period: 15 }
    }

    /// So many replicas in 15 seconds.
    pub fn pods(value: u32) -> Self {
        Self { percent: false, value, period: 15 }
    }
}

impl Rules {
    fn of(rules: &Value, default: Self) -> Self {
        assert!(rules["selectPolicy"].as_str().is_none_or(|select| select == "Max"), "another choice is not modelled");
        let policies = rules["policies"].as_array().map(|policies| {
            let policies = policies.iter().map(|policy| Policy {
                percent: policy["type"] == "Percent",
                value: policy["value"].as_u64().unwrap() as u32,
                period: policy["periodSeconds"].as_u64().unwrap(),
            });
            policies.collect()
        });
        Self {
            window: rules["stabilizationWindowSeconds"].as_u64().unwrap_or(default.window),
            policies: policies.unwrap_or(default.policies),
        }
    }
}
