//! What operators did: the entries of the audit log, which is only ever added to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use ulid::Ulid;
use utoipa::ToSchema;

use super::{clock::Timestamp, job::words};

words! {
    /// Something an operator did.
    AdminAction {
        /// Stopped handing out kinds of jobs.
        PauseQueue = "pause_queue",
        /// Handed them out again.
        ResumeQueue = "resume_queue",
        /// Put one dead letter back into the queue.
        ReplayLetter = "replay_letter",
        /// Ordered the replay of many.
        ReplayLetters = "replay_letters",
        /// Called such a replay off.
        CancelReplay = "cancel_replay",
        /// Removed a dead letter for good.
        DiscardLetter = "discard_letter",
        /// Removed all dead letters that match.
        DiscardLetters = "discard_letters",
        /// Cancelled the jobs that match.
        CancelJobs = "cancel_jobs",
        /// Something that a newer version can do.
        Unknown = "unknown",
    }
}

words! {
    /// How far an action had got when its entry was written.
    AuditStage {
        /// It was about to be done; nothing is done that could not be noted before.
        Begun = "begun",
        /// It was done.
        Done = "done",
        /// It failed, perhaps after a part of it was done.
        Failed = "failed",
        /// A stage that a newer version knows.
        Unknown = "unknown",
    }
}

/// A word of an entry; one that a newer version wrote is no reason not to show the others.
fn stored<'de, D: Deserializer<'de>, W: FromStr>(deserializer: D, unknown: W) -> Result<W, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().unwrap_or(unknown))
}

fn stored_action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AdminAction, D::Error> {
    stored(deserializer, AdminAction::Unknown)
}

fn stored_stage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AuditStage, D::Error> {
    stored(deserializer, AuditStage::Unknown)
}

impl AuditStage {
    /// What entries say that were written when actions were noted once, afterwards.
    fn once() -> Self {
        Self::Done
    }
}

/// One action's own id, a ULID: what its entries have in common, since a request's id is the caller's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct ActionId(Ulid);

impl ActionId {
    /// A new id for an action begun at this instant.
    pub fn new(at: Timestamp) -> Self {
        Self(Ulid::from_parts(at.0.max(0) as u64, rand::random()))
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An entry of the audit log, before the store stamps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditNote {
    /// Which action; none in entries from before actions had an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub action_id: Option<ActionId>,
    /// What was done.
    #[serde(deserialize_with = "stored_action")]
    pub action: AdminAction,
    /// How far it had got: one entry is written before it and one after, with the same `action_id`.
    #[serde(default = "AuditStage::once", deserialize_with = "stored_stage")]
    pub stage: AuditStage,
    /// By whom: the name of the token that was shown.
    pub actor: String,
    /// From where: the address that the connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// The request that asked for it, as in the log.
    pub request_id: String,
    /// What it was done to: a job, or kinds of jobs.
    #[schema(required)]
    pub subject: Option<String>,
    /// To how many; 0 before it is done.
    pub count: u64,
    /// What was asked for; never a payload.
    #[schema(value_type = Option<Object>, required)]
    pub detail: Option<Value>,
}

impl AuditNote {
    /// What tells it from every other note of an action with an id: it may be handed to a store twice.
    pub fn key(&self) -> Option<String> {
        self.action_id.map(|action| format!("{action}:{}", self.stage))
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub note: AuditNote,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_with_words_of_a_newer_version_is_read_with_all_the_rest() {
        let entry =
            json!({ "action": "teleport_jobs", "stage": "halfway", "actor": "ana", "request_id": "r", "count": 3 });
        let note: AuditNote = serde_json::from_value(entry).unwrap();
        assert_eq!((note.action, note.stage, note.count), (AdminAction::Unknown, AuditStage::Unknown, 3));
        let first = json!({ "action": "pause_queue", "actor": "admin", "request_id": "r", "count": 1 });
        let note: AuditNote = serde_json::from_value(first).unwrap();
        assert_eq!((note.action, note.stage), (AdminAction::PauseQueue, AuditStage::Done));
    }
}
