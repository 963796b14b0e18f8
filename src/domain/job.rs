//! The job: the durable record of one piece of accepted work, its states and its counters.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    answer::Context,
    clock::Timestamp,
    document::{DocumentChange, DocumentVersion},
    failure::{Class, Code, Failure},
    ids::{JobId, Lease, Tenant, WorkerId},
    origin::{Origin, TraceId},
    replay::{ReplayProgress, ReplayResult, ReplayTally, Stopped},
    spent::UsageTotal,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The word used in the API, in metrics and in stores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::domain::schema::one_of(Self::ALL.iter().map(|word| word.as_str()))
            }
        }
        impl utoipa::ToSchema for $name {}
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::domain::job::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown = $crate::domain::job::UnknownWord { allowed: &[$($text),*] };
                match text { $($text => Ok(Self::$variant),)* _ => Err(unknown) }
            }
        }
    };
}

pub(crate) use words;

/// The text is none of a closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", allowed.join(", "))]
pub struct UnknownWord {
    /// The words that would do.
    pub allowed: &'static [&'static str],
}

words! {
    /// What a job does.
    Kind {
        /// Answers a question.
        Chat = "chat",
        /// Takes in, replaces or deletes a document.
        Ingest = "ingest",
        /// Replays dead letters.
        Replay = "replay",
    }
}

words! {
    /// Where a job is in its life.
    Status {
        /// Waits for a worker.
        Queued = "queued",
        /// Waits for its time.
        Scheduled = "scheduled",
        /// Is worked on under a lease.
        Running = "running",
        /// Done: has a result.
        Completed = "completed",
        /// Given up: has an error; can be replayed.
        Dead = "dead",
        /// Called off.
        Cancelled = "cancelled",
    }
}

impl Status {
    /// Whether the job will not go on by itself.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Dead | Self::Cancelled => true,
            Self::Queued | Self::Scheduled | Self::Running => false,
        }
    }
}

words! {
    /// Who goes first: taken 8:4:1 when all three wait.
    Priority {
        /// Before the others.
        High = "high",
        /// As questions come.
        Normal = "normal",
        /// As ingestions come.
        Low = "low",
    }
}

words! {
    /// Why a job is dead.
    DeadReason {
        /// Its last attempt failed with something that may pass.
        AttemptsExhausted = "attempts_exhausted",
        /// It failed with something that can never succeed.
        Permanent = "permanent",
        /// Its deadline passed.
        DeadlineExceeded = "deadline_exceeded",
        /// Its worker was lost too often.
        Poison = "poison",
    }
}

/// A job to be stored.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id, made by the caller.
    pub id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// What it does.
    pub kind: Kind,
    /// Who goes first.
    pub priority: Priority,
    /// What is to be done: the JSON of the request.
    pub payload: Value,
    /// How many attempts it has, at least 1.
    pub max_attempts: u32,
    /// How long from now it may take altogether; none: for ever.
    pub deadline: Option<Duration>,
    /// How long from now it is to wait first.
    pub delay: Option<Duration>,
    /// Makes a repeated submission find the first one's job.
    pub idempotency: Option<Idempotency>,
    /// The conversation its answer becomes a turn of.
    pub conversation_id: Option<String>,
    /// The change it carries out (kind `ingest` only); the store gives it its version.
    pub document: Option<DocumentChange>,
    /// Where it comes from.
    pub origin: Origin,
}

/// An idempotency key with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key, unique within the tenant.
    pub key: String,
    /// Hash of the request: the same key with another request is refused.
    pub fingerprint: String,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Stored.
    Accepted(JobId),
    /// The same request was stored before: this is its job.
    Replayed(JobId),
    /// The idempotency key stands for another request.
    IdempotencyMismatch,
    /// The queue is at its limit of jobs or bytes.
    QueueFull {
        /// When there may be room.
        retry_after: Duration,
    },
}

/// A job handed to a worker.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The right to work on it.
    pub lease: Lease,
    /// Whose it is.
    pub tenant: Tenant,
    /// What it does.
    pub kind: Kind,
    /// What is to be done; not checked by the store.
    pub payload: Value,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// How often it was put back without using an attempt.
    pub deferrals: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it was queued for this delivery.
    pub queued_at: Timestamp,
    /// When it was handed over.
    pub delivered_at: Timestamp,
    /// How long until its deadline, if it has one.
    pub remaining: Option<Duration>,
    /// What an earlier attempt retrieved.
    pub context: Option<Context>,
    /// The conversation its answer becomes a turn of.
    pub conversation_id: Option<String>,
    /// The change it carries out (kind `ingest`).
    pub document: Option<DocumentVersion>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Why a job failed, or fails at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// A stable word.
    #[serde(deserialize_with = "Code::deserialize_stored")]
    pub code: Code,
    /// For people.
    pub message: String,
    /// What follows from it.
    pub class: Class,
    /// When the job goes on, if it does.
    pub retry_at: Option<Timestamp>,
}

impl From<&Failure> for JobError {
    fn from(failure: &Failure) -> Self {
        Self { code: failure.code, message: failure.message.clone(), class: failure.class(), retry_at: None }
    }
}

/// One delivery that ended in a failure or was lost, as a dead letter shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptRecord {
    /// The attempt's number, from 1 since the last replay.
    pub attempt: u32,
    /// The delivery's number, from 1 over the job's whole life.
    pub delivery: u64,
    /// Who had it.
    pub worker: WorkerId,
    /// When it was handed over.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why; none for a lost lease.
    pub error: Option<JobError>,
}

words! {
    /// How a delivery ended, when not in success.
    AttemptOutcome {
        /// To be tried again.
        Retried = "retried",
        /// Put back without using the attempt.
        Deferred = "deferred",
        /// Its worker was lost.
        LeaseLost = "lease_lost",
        /// It killed the job.
        Died = "died",
    }
}

/// A job as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub job_id: JobId,
    /// What it does.
    pub kind: Kind,
    /// Where it is in its life.
    pub status: Status,
    /// Deliveries that ended in a failure which uses an attempt, plus the running one.
    pub attempt: u32,
    /// How many attempts it has.
    pub max_attempts: u32,
    /// How often it was handed to a worker.
    pub deliveries: u64,
    /// How often its worker was lost.
    pub lost_leases: u32,
    /// How often it was put back without using an attempt.
    pub deferrals: u32,
    /// How many jobs of its kind are taken before it, while queued; left out when far back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it was last handed over.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How far it has come (kind `replay`, from its first step on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ReplayProgress>,
    /// What came of it.
    pub result: Option<Value>,
    /// What is or was wrong.
    pub error: Option<JobError>,
    /// What its calls to model providers cost, over all its attempts.
    #[serde(default)]
    pub usage_total: UsageTotal,
    /// The trace it is part of.
    #[serde(default)]
    pub trace_id: TraceId,
}

impl JobView {
    /// The view of a replay: with its progress, and the result of one that was called off.
    #[must_use]
    pub fn with_tally(mut self, tally: &ReplayTally) -> Self {
        let progress = tally.progress();
        self.progress = Some(progress);
        if self.status == Status::Cancelled {
            self.result = serde_json::to_value(ReplayResult { progress, stopped: Some(Stopped::Cancelled) }).ok();
        }
        self
    }
}

/// A dead letter as listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// The job.
    pub job_id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// What it was to do.
    pub kind: Kind,
    /// Why it is dead.
    pub reason: DeadReason,
    /// The last failure.
    pub error: JobError,
    /// Attempts used.
    pub attempt: u32,
    /// How often it was handed to a worker.
    pub deliveries: u64,
    /// How often its worker was lost.
    pub lost_leases: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it died.
    pub dead_at: Timestamp,
}
