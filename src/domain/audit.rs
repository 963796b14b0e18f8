//! What operators did: the entries of the audit log, which is only ever added to.

use serde::{Deserialize, Serialize};
use serde_json::Value;
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
        /// Cancelled the jobs that match.
        CancelJobs = "cancel_jobs",
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
    }
}

impl AuditStage {
    /// What entries say that were written when actions were noted once, afterwards.
    fn once() -> Self {
        Self::Done
    }
}

/// An entry of the audit log, before the store stamps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditNote {
    /// What was done.
    pub action: AdminAction,
    /// How far it had got: one entry is written before it and one after, with the same `request_id`.
    #[serde(default = "AuditStage::once")]
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

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub note: AuditNote,
}
