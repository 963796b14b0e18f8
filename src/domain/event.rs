//! The event log of a job: what its readers are shown, in order, for as long as the job lives.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{answer::Citation, clock::Timestamp, failure::Code, ids::WorkerId, job::JobError, replay::ReplayProgress};

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The job was stored; derived from its record, always number 0.
    Created {},
    /// A delivery began: what earlier attempts wrote is void.
    Started {
        /// Who has it.
        worker: WorkerId,
    },
    /// The passages the answer will be made from.
    Passages {
        /// Each passage under the number the answer cites it by.
        citations: Vec<Citation>,
    },
    /// The answer goes on.
    Delta {
        /// The next piece of text.
        text: String,
    },
    /// A replay has come further.
    Progress {
        /// How far.
        #[serde(flatten)]
        progress: ReplayProgress,
    },
    /// Put back without using an attempt.
    Deferred {
        /// Why.
        #[serde(deserialize_with = "Code::deserialize_stored")]
        code: Code,
        /// For people.
        message: String,
        /// When it goes on.
        retry_at: Timestamp,
    },
    /// The attempt failed and another follows.
    Retrying {
        /// Why.
        #[serde(deserialize_with = "Code::deserialize_stored")]
        code: Code,
        /// For people.
        message: String,
        /// When it goes on.
        retry_at: Timestamp,
    },
    /// Done.
    Completed {
        /// The result.
        result: Value,
    },
    /// Given up.
    Dead {
        /// Why.
        error: JobError,
    },
    /// Called off.
    Cancelled {},
    /// A dead letter was put back into the queue.
    Replayed {},
    /// Something that a newer ragq wrote and this one has no word for: it has its number, and readers are not shown it.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created {} => "created",
            Self::Started { .. } => "started",
            Self::Passages { .. } => "passages",
            Self::Delta { .. } => "delta",
            Self::Progress { .. } => "progress",
            Self::Deferred { .. } => "deferred",
            Self::Retrying { .. } => "retrying",
            Self::Completed { .. } => "completed",
            Self::Dead { .. } => "dead",
            Self::Cancelled {} => "cancelled",
            Self::Replayed {} => "replayed",
            Self::Unknown => "unknown",
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Its number, from 0 without gaps.
    pub seq: u64,
    /// The attempt it belongs to; 0 before the first delivery.
    pub attempt: u32,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A piece of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The events asked for, in order, without gaps.
    pub events: Vec<JobEvent>,
    /// Whether the job is final and the last of `events` (or the one asked after) is the log's last.
    pub ended: bool,
}
