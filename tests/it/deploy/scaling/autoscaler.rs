//! KEDA's part, from none to one and back, together with the autoscaler it makes; and both held to what real ones did.
//! Source: KEDA's `scale_handler.go` and `scale_scaledobjects.go` of 2.18 to 2.20.

use std::collections::VecDeque;

use super::{
    hpa::{Hpa, PERIOD},
    spec::{Policy, Rules, Spec},
};

/// KEDA and its autoscaler for one deployment, told the time in seconds.
#[derive(Debug)]
pub struct Autoscaler {
    spec: Spec,
    hpa: Hpa,
    active_at: Option<u64>,
    /// How many replicas there should be.
    pub replicas: u32,
}

impl Autoscaler {
    /// Of a deployment of none.
    pub fn new(spec: Spec) -> Self {
        Self { spec, hpa: Hpa::default(), active_at: None, replicas: 0 }
    }

    /// Whether anybody looks at this second.
    pub fn looks(&self, now: u64) -> bool {
        now.is_multiple_of(self.spec.polling) || now.is_multiple_of(PERIOD)
    }

    /// What happens at this second, with the metric as it is; none: it can't be had.
    pub fn second(&mut self, now: u64, metric: Option<f64>) {
        if now.is_multiple_of(self.spec.polling) {
            self.keda(now, metric);
        }
        // Of none the autoscaler keeps its hands off, and without a metric it changes nothing.
        if let Some(metric) = metric.filter(|_| now.is_multiple_of(PERIOD) && self.replicas > 0) {
            self.replicas = self.hpa.look(&self.spec, now, metric, self.replicas);
        }
    }

    fn keda(&mut self, now: u64, metric: Option<f64>) {
        // An error of any trigger is one of all of them where there is a formula; then nothing is changed.
        let Some(metric) = metric else { return };
        if metric > self.spec.activation {
            self.active_at = Some(now);
            self.replicas = self.replicas.max(1);
        } else if self.replicas > 0
            && self.spec.min == 0
            && self.active_at.is_none_or(|active| active + self.spec.cooldown < now)
        {
            self.replicas = 0;
        }
    }
}

/// How many seconds a replica takes to start.
const STARTING: usize = 5;

/// What a real KEDA with a real autoscaler was watched doing: 200 jobs of 1 to 15 seconds, four at a time in a replica,
/// at most ten, windows of 30 seconds.
fn watched() -> Spec {
    Spec {
        triggers: Vec::new(),
        formula: String::new(),
        target: 4.0,
        activation: 0.0,
        polling: 5,
        cooldown: 30,
        min: 0,
        max: 10,
        up: Rules { window: 0, policies: vec![Policy::percent(100), Policy::pods(4)] },
        down: Rules { window: 30, policies: vec![Policy::percent(100)] },
    }
}

#[test]
fn it_takes_the_steps_that_a_real_keda_took() {
    let mut autoscaler = Autoscaler::new(watched());
    let (mut waiting, mut running): (Vec<u64>, Vec<u64>) = ((0..200).map(|job| 1 + job * 7 % 15).collect(), Vec::new());
    let (mut steps, mut ordered) = (vec![(0, 0)], VecDeque::from([0; STARTING]));
    for now in 1..300 {
        running.retain(|end| *end > now);
        let started = ordered.pop_front().unwrap_or_default();
        ordered.push_back(autoscaler.replicas);
        // What is handed out at this second; jobs of a replica that goes are finished first.
        while running.len() < started as usize * 4
            && let Some(seconds) = waiting.pop()
        {
            running.push(now + seconds);
        }
        autoscaler.second(now, Some((waiting.len() + running.len()) as f64));
        if steps.last().is_some_and(|(_, replicas)| *replicas != autoscaler.replicas) {
            steps.push((now, autoscaler.replicas));
        }
    }
    let replicas: Vec<_> = steps.iter().map(|(_, replicas)| *replicas).collect();
    assert!(replicas.starts_with(&[0, 1, 5, 10]) && replicas.ends_with(&[0]), "{steps:?}");
    assert!(replicas[3..].is_sorted_by(|before, after| before > after), "{steps:?}");
    // It was seen at 9, 14 and 29 seconds, the first step down at 89, the last at 99; looks fall as they fall.
    let at = |step: usize| steps[step].0;
    for (at, seen) in [(at(1), 9_u64), (at(2), 14), (at(3), 29), (at(4), 89), (at(steps.len() - 1), 99)] {
        assert!(at.abs_diff(seen) <= 15, "{steps:?}");
    }
}

#[test]
fn without_a_metric_nothing_changes() {
    let mut autoscaler = Autoscaler::new(watched());
    (1..=60).for_each(|now| autoscaler.second(now, Some(100.0)));
    assert_eq!(autoscaler.replicas, 10);
    (61..=1_000).for_each(|now| autoscaler.second(now, None));
    assert_eq!(autoscaler.replicas, 10);
    (1_001..=1_300).for_each(|now| autoscaler.second(now, Some(0.0)));
    assert_eq!(autoscaler.replicas, 0);
}

#[test]
fn workers_are_not_taken_away_while_jobs_run_that_fill_them() {
    let mut autoscaler = Autoscaler::new(Spec::of_the_manifests());
    // Ten workers' worth, at first waiting and then running: the sum is the same.
    (1..=600).for_each(|now| autoscaler.second(now, Some(10.0)));
    assert_eq!(autoscaler.replicas, 10);
}

#[test]
fn one_job_is_enough_to_wake_the_first_worker_and_to_keep_it() {
    let mut autoscaler = Autoscaler::new(Spec::of_the_manifests());
    (1..=3_600).for_each(|now| autoscaler.second(now, Some(0.031)));
    assert_eq!(autoscaler.replicas, 1);
}

#[test]
fn the_next_burst_finds_the_workers_of_the_one_before() {
    let mut autoscaler = Autoscaler::new(Spec::of_the_manifests());
    (1..=60).for_each(|now| autoscaler.second(now, Some(9.0)));
    (61..=90).for_each(|now| autoscaler.second(now, Some(0.0)));
    assert_eq!(autoscaler.replicas, 9);
}
