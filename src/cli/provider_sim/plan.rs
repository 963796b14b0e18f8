//! How the simulated provider behaves: what the command line says, and what `PUT /sim/plan` changes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::Fault;

/// A provider's behaviour. The names are those of the command line's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// Milliseconds until the first token of an answer, or the vectors.
    pub(super) first_token_ms: u64,
    /// Milliseconds between two tokens.
    pub(super) token_ms: u64,
    /// Tokens of an answer, unless the call allows fewer.
    pub(super) answer_tokens: u32,
    /// Length of vectors, unless the call asks for another.
    pub(super) dimensions: u32,
    /// The key to demand; none: any, or none at all.
    pub(super) api_key: Option<String>,
    /// Requests a minute; none: unlimited.
    pub(super) requests_per_minute: Option<u64>,
    /// Tokens a minute; none: unlimited.
    pub(super) tokens_per_minute: Option<u64>,
    /// What goes wrong; of several faults the first that meets a call happens.
    pub(super) faults: Vec<Fault>,
}

impl Plan {
    /// The plan with some fields changed; the error names the field.
    pub(super) fn with(&self, change: Map<String, Value>) -> Result<Self, String> {
        let mut whole = Map::new();
        if let Ok(Value::Object(own)) = serde_json::to_value(self) {
            whole.extend(own);
        }
        for (name, value) in change {
            // One by one, so that the error of a wrong value can name its field.
            let before = whole.insert(name.clone(), value);
            if before.is_none() {
                let known: Vec<&str> = whole.keys().map(String::as_str).filter(|known| **known != name).collect();
                return Err(format!("{name} is no field of a plan; its fields are {}", known.join(", ")));
            }
            if let Err(error) = Self::deserialize(Value::Object(whole.clone())) {
                return Err(format!("{name}: {error}"));
            }
        }
        let plan = Self::deserialize(Value::Object(whole)).map_err(|error| error.to_string())?;
        plan.check().map(|()| plan)
    }

    /// Whether all values are within their ranges; the error names the field.
    pub(super) fn check(&self) -> Result<(), String> {
        const DAY_MS: u64 = 86_400_000;
        let per_minute = 1..=1_000_000_000_000;
        for (name, value, range) in [
            ("first_token_ms", Some(self.first_token_ms), 0..=DAY_MS),
            ("token_ms", Some(self.token_ms), 0..=DAY_MS),
            ("answer_tokens", Some(self.answer_tokens.into()), 1..=1_000_000),
            ("dimensions", Some(self.dimensions.into()), 1..=MAX_DIMENSIONS.into()),
            ("requests_per_minute", self.requests_per_minute, per_minute.clone()),
            ("tokens_per_minute", self.tokens_per_minute, per_minute),
        ] {
            if value.is_some_and(|value| !range.contains(&value)) {
                return Err(format!("{name} must be {} to {}", range.start(), range.end()));
            }
        }
        Ok(())
    }

    /// The plan as it may be shown.
    pub(super) fn shown(&self) -> Self {
        Self { api_key: self.api_key.as_ref().map(|_| "***".to_owned()), ..self.clone() }
    }
}

/// The longest vectors.
pub(super) const MAX_DIMENSIONS: u32 = 16_384;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        Plan {
            first_token_ms: 100,
            token_ms: 10,
            answer_tokens: 30,
            dimensions: 8,
            api_key: Some("sim-key".into()),
            requests_per_minute: None,
            tokens_per_minute: Some(100),
            faults: vec!["500".parse().unwrap()],
        }
    }

    fn changed(change: Value) -> Result<Plan, String> {
        let Value::Object(change) = change else { panic!("an object") };
        plan().with(change)
    }

    #[test]
    fn what_a_change_leaves_out_stays_as_it_was() {
        assert_eq!(changed(json!({})), Ok(plan()));
        let repaired = changed(json!({ "faults": [], "tokens_per_minute": null })).unwrap();
        assert_eq!(repaired, Plan { faults: Vec::new(), tokens_per_minute: None, ..plan() });
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused_by_its_field() {
        for (change, says) in [
            (json!({ "latency": 3 }), "latency is no field"),
            (json!({ "token_ms": -1 }), "token_ms: "),
            (json!({ "answer_tokens": 0 }), "answer_tokens must be 1 to"),
            (json!({ "requests_per_minute": 0 }), "requests_per_minute must be 1 to"),
            (json!({ "faults": ["500,share=2"] }), "faults: share must be 0 to 1"),
        ] {
            let error = changed(change).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(!serde_json::to_string(&plan().shown()).unwrap().contains("sim-key"));
    }
}
