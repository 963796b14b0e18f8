//! Replaying many dead letters: what is ordered, how far it has come, what came of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    clock::Timestamp,
    failure::Code,
    ids::JobId,
    job::{DeadReason, Kind, words},
};

/// Which dead letters a replay is for. Replays that are dead themselves are never among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Died for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// With this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only these jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<JobId>>,
}

/// The payload of a job of kind `replay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    /// Which letters.
    pub selection: Selection,
    /// Only those that were dead by then, so that it never meets the ones that it put back.
    pub dead_by: Timestamp,
    /// How many there were, within the limit that was asked for: the most it puts back.
    pub matched: u64,
    /// So many a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayProgress {
    /// Letters that were to be replayed when it began.
    pub matched: u64,
    /// Letters that it put back into the queue.
    pub replayed: u64,
    /// Letters that were no dead letters any more when their turn came.
    pub skipped: u64,
    /// Of the replayed ones, those that were seen dead again.
    pub failed_again: u64,
}

/// What the store knows of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayTally {
    /// Letters that were to be replayed when it began.
    pub matched: u64,
    /// Letters put back into the queue.
    pub replayed: u64,
    /// Of these, those that the last step put back.
    pub just_replayed: u64,
    /// Of all, those that were seen to have ended, however.
    pub ended: u64,
    /// Of these, those that were dead again.
    pub failed_again: u64,
    /// The most of these that share a code.
    pub same_code: u64,
    /// Whether no letter is left to put back.
    pub exhausted: bool,
}

impl ReplayTally {
    /// What callers are shown.
    pub fn progress(&self) -> ReplayProgress {
        ReplayProgress {
            matched: self.matched,
            replayed: self.replayed,
            skipped: if self.exhausted { self.matched.saturating_sub(self.replayed) } else { 0 },
            failed_again: self.failed_again,
        }
    }
}

words! {
    /// Why a replay ended before its last letter.
    Stopped {
        /// Too many letters were dead again, with one and the same code.
        SameCauseReturned = "same_cause_returned",
        /// It was called off.
        Cancelled = "cancelled",
    }
}

/// The result of a job of kind `replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayResult {
    /// How far it came.
    #[serde(flatten)]
    pub progress: ReplayProgress,
    /// Why it ended early; null: it did not.
    #[schema(required)]
    pub stopped: Option<Stopped>,
}
