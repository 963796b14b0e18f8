//! What operators need of the job store: the queue in figures, its kinds stopped, dead letters looked at and repaired.

use std::{collections::HashMap, fmt};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Page, Result, WorkerInfo, history::StoredInterval};
use crate::domain::{
    audit::{AuditEntry, AuditNote},
    clock::Timestamp,
    failure::Code,
    ids::JobId,
    job::{AttemptRecord, DeadLetter, DeadReason, Kind, Status},
};

/// A cursor into dead letters: the time and id of the last one shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadCursor {
    /// When it died, in milliseconds since 1970 (UTC).
    pub at: i64,
    /// Which it is.
    pub id: JobId,
}

impl fmt::Display for DeadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at, self.id)
    }
}

impl From<Timestamp> for DeadCursor {
    /// The place before the newest letter that had died by then.
    fn from(dead_by: Timestamp) -> Self {
        Self { at: dead_by.0, id: JobId::LAST }
    }
}

impl DeadCursor {
    /// Reads a cursor; one that was never given out is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.rsplit_once('-')?;
        Some(Self { at: at.parse().ok()?, id: id.parse().ok()? })
    }
}

/// A worker as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// What it announced.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// How many jobs it holds.
    pub running: u64,
    /// When it was last heard of.
    pub last_heartbeat_at: Timestamp,
}

/// The queue in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Jobs per state, all states present.
    pub counts: HashMap<Status, u64>,
    /// Queued plus due.
    pub backlog: u64,
    /// Jobs in flight.
    pub running: u64,
    /// Age of the job that has been queued longest, in milliseconds.
    pub oldest_queued_age_ms: Option<u64>,
    /// Kinds that are not handed out.
    pub paused: Vec<Kind>,
    /// The workers heard of within their lease.
    pub workers: Vec<WorkerView>,
    /// Each kind by itself, all kinds present.
    pub kinds: HashMap<Kind, KindStats>,
    /// Dead letters per reason, all reasons present.
    pub dead: HashMap<DeadReason, u64>,
    /// How the store itself is.
    pub condition: Condition,
}

/// How a store is, as far as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Bytes it takes up.
    pub used_bytes: Option<u64>,
    /// Bytes it may take up; none: as many as there are.
    pub limit_bytes: Option<u64>,
    /// Whether what it is told goes to a file.
    pub append_only: Option<bool>,
    /// Whether the last write to that file went well.
    pub append_works: Option<bool>,
    /// Whether it keeps everything when its memory is full.
    pub keeps_all: Option<bool>,
}

/// The jobs of one kind in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindStats {
    /// Waiting for a worker.
    pub queued: u64,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Being worked on.
    pub running: u64,
    /// Given up.
    pub dead: u64,
    /// Age of the one that has been queued longest, in milliseconds.
    pub oldest_queued_age_ms: Option<u64>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Died for this reason.
    pub reason: Option<DeadReason>,
    /// With this code.
    pub code: Option<Code>,
    /// Of this kind.
    pub kind: Option<Kind>,
}

/// How many dead letters share a cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroup {
    /// Why they are dead.
    pub reason: DeadReason,
    /// The code of their last failure.
    pub code: Code,
    /// How many.
    pub count: u64,
}

/// One dead letter in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterDetail {
    /// As listed.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The request that submitted it.
    pub request_id: String,
    /// What was to be done.
    pub payload: Value,
    /// Every delivery that failed or was lost, oldest first.
    pub attempts: Vec<AttemptRecord>,
}

/// What became of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The job is queued again.
    Replayed,
    /// There is no such dead letter (any more).
    NotDead,
}

/// One step of cancelling many jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelStep {
    /// How many at the front are left out: those that were looked at before and stayed.
    pub skip: usize,
    /// How many to look at, up to 1,000.
    pub max: usize,
    /// Only count.
    pub dry_run: bool,
}

/// What such a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelTally {
    /// Jobs it looked at; fewer than asked for: there are no more.
    pub seen: usize,
    /// Those of them that match.
    pub matched: usize,
    /// Those that it cancelled.
    pub cancelled: usize,
}

/// What operators need; not bound to a tenant.
#[async_trait]
pub trait Operations: Send + Sync {
    /// The queue in figures.
    async fn stats(&self) -> Result<QueueStats>;

    /// Stops handing out these kinds (until resumed, over restarts).
    async fn pause(&self, kinds: &[Kind]) -> Result<()>;

    /// Hands these kinds out again.
    async fn resume(&self, kinds: &[Kind]) -> Result<()>;

    /// Dead letters, newest first, from after `cursor`.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>>;

    /// The causes of all dead letters that match, with their counts, largest first.
    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>>;

    /// One dead letter.
    async fn dead_letter(&self, id: JobId) -> Result<Option<DeadLetterDetail>>;

    /// Queues a dead letter again under its id, optionally with another payload: counters start again,
    /// what was retrieved is forgotten, the log goes on with `replayed`.
    async fn replay(&self, id: JobId, payload: Option<Value>) -> Result<Replay>;

    /// Removes a dead letter for good; false if there is none.
    async fn discard(&self, id: JobId) -> Result<bool>;

    /// One step of cancelling all jobs of a kind that are in a state (queued, scheduled or running).
    async fn cancel_some(&self, kind: Kind, status: Status, step: CancelStep) -> Result<CancelTally>;

    /// Adds an entry to the audit log; one that has a key is there once however often it is added.
    async fn note(&self, note: &AuditNote) -> Result<()>;

    /// The audit log, newest first, from after `cursor`.
    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<Page<AuditEntry>>;

    /// The intervals of the last `minutes` (up to 60) in which a process was up, oldest first.
    async fn history(&self, minutes: u64) -> Result<Vec<StoredInterval>>;
}
