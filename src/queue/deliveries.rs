//! What workers need of the job store: to say that they live, to be handed jobs under leases, and to end them.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Fenced, Result, Watch};
use crate::domain::{
    answer::{Context, Turn},
    document::DocumentCommit,
    ids::{JobId, Lease, Tenant, WorkerId},
    job::{DeadReason, Delivery, JobError, Kind},
    spent::UsageTotal,
};

/// How a job ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// With a result.
    Completed {
        /// The result.
        result: Value,
        /// What becomes of the document (kind `ingest`).
        document: Option<DocumentCommit>,
        /// What the conversation remembers (kind `chat` with a conversation).
        turn: Option<Turn>,
    },
    /// As a dead letter.
    Dead {
        /// Why.
        reason: DeadReason,
        /// The last failure.
        error: JobError,
    },
}

/// How a job is put back.
#[derive(Clone, Debug, PartialEq)]
pub enum Release {
    /// The attempt is used; another after this time. `error.retry_at` is set by the store.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Why.
        error: JobError,
    },
    /// The attempt is not used; a deferral is counted.
    Defer {
        /// How long to wait.
        after: Duration,
        /// Why.
        error: JobError,
    },
    /// Nothing is counted and nothing waits: the worker is leaving. The delivery number stays used.
    HandBack,
}

/// A worker as it announces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerInfo {
    /// The boot's id.
    pub id: WorkerId,
    /// ragq's version.
    pub version: String,
    /// How many jobs of each kind it takes at a time.
    pub slots: HashMap<Kind, u32>,
}

impl WorkerInfo {
    /// Whether it takes jobs that callers wait for: an API that only runs replays is no worker to the operator.
    pub fn is_for_callers(&self) -> bool {
        self.slots.is_empty() || self.slots.keys().any(|kind| *kind != Kind::Replay)
    }
}

/// What workers need. A worker beats before it fetches.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Says that the worker lives: its leases hold for another lease time.
    async fn heartbeat(&self, worker: &WorkerInfo) -> Result<()>;

    /// Hands over up to `max` queued jobs of one kind, by priority 8:4:1, each under a lease of its own;
    /// writes `started` to each job's log. Empty while the kind is paused.
    async fn fetch(&self, worker: &WorkerId, kind: Kind, max: usize) -> Result<Vec<Delivery>>;

    /// Hands over up to `max` queued ingestions that only delete a document, whatever their priority, as
    /// [`fetch`](Self::fetch) does: they need no provider.
    async fn fetch_deletions(&self, worker: &WorkerId, max: usize) -> Result<Vec<Delivery>>;

    /// Resolves when a job of the kind may have become queued since the last call; may resolve for nothing.
    async fn wait_for_work(&self, kind: Kind);

    /// Wakes when the job's status changes: a worker whose lease was taken stops at once.
    fn watch_delivery(&self, lease: &Lease) -> Watch;

    /// Whether the lease is still the job's. A change told by the watch may be older than the lease: the same worker
    /// may have lost the job and been handed it again.
    async fn holds(&self, lease: &Lease) -> Result<bool>;

    /// The uploaded bytes of the job's document. None: the job is gone.
    async fn upload(&self, job: JobId) -> Result<Option<Vec<u8>>>;

    /// Stores what was retrieved and writes `passages` to the log.
    async fn save_context(&self, lease: &Lease, context: &Context) -> Result<Fenced>;

    /// Writes a piece of the answer to the log; says whether anyone reads it at present.
    async fn append_delta(&self, lease: &Lease, text: String) -> Result<Fenced<bool>>;

    /// Ends the job; in the same step what the delivery's calls to model providers cost is added to its record, unless it
    /// is stale. Stale also for an ingestion that can't be applied as it stands, and was queued again
    /// uncounted: "unchanged" against content that was replaced meanwhile, "replaced" during a sweep of the
    /// document's older chunks (see [`Documents::leftovers`](super::Documents::leftovers)), which may have taken the new ones with it.
    async fn finish(&self, lease: &Lease, finish: Finish, cost: UsageTotal) -> Result<Fenced>;

    /// Puts the job back, with what the delivery cost as in [`finish`](Self::finish).
    async fn release(&self, lease: &Lease, release: Release, cost: UsageTotal) -> Result<Fenced>;

    /// Adds what a delivery that lost its lease cost to the job's record. Not fenced: it was spent, whoever has the job
    /// now.
    async fn spend(&self, lease: &Lease, cost: UsageTotal) -> Result<()>;

    /// The worker leaves: what it still holds is handed back uncounted.
    async fn leave(&self, worker: &WorkerId) -> Result<()>;

    /// The last `limit` turns of a conversation, oldest first.
    async fn turns(&self, tenant: &Tenant, conversation_id: &str, limit: usize) -> Result<Vec<Turn>>;
}
