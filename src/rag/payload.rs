//! The payloads of jobs: the JSON of the request plus `kind`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    failure::{Code, Failure},
    ids::Collection,
};

/// What a `chat` job is to do: the JSON of `POST /chat`. Fields that only steer the queue are not read here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatPayload {
    /// The question.
    pub query: String,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// Search only here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Collection>,
    /// Passages to give to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
}

impl ChatPayload {
    /// Reads a stored payload.
    pub fn decode(payload: &Value) -> Result<Self, Failure> {
        let decoded = Self::deserialize(payload)
            // Only the kind of the mistake is passed on: the error's own text may quote the payload.
            .map_err(|error| {
                Failure::new(
                    Code::UndecodablePayload,
                    format!("the payload is no question: {:?} error", error.classify()),
                )
            })?;
        if decoded.query.trim().is_empty() {
            return Err(Failure::new(Code::UndecodablePayload, "the payload is no question: `query` is empty"));
        }
        Ok(decoded)
    }
}
