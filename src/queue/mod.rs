//! The job store as a port: all that api, worker and operator ask of the durable queue.
//!
//! Adapters: [`sqlite`], [`redis`]. Each operation is one atomic step of the store, stamped with the store's own
//! clock. A store never interprets a payload, except that it keeps the document registry in step with
//! the jobs that change documents.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::{
    answer::{Context, Turn},
    audit::{AuditEntry, AuditNote},
    clock::Timestamp,
    document::{CollectionRecord, DocumentCommit, DocumentRecord},
    event::EventPage,
    failure::{Code, Failure},
    ids::{Collection, DocumentId, JobId, Lease, Tenant, WorkerId},
    job::{AttemptRecord, DeadLetter, DeadReason, Delivery, JobError, JobView, Kind, NewJob, Status, Submitted},
    replay::{ReplayOrder, ReplayTally, Selection},
    spent::UsageTotal,
};

pub mod cells;
pub mod history;
pub mod observed;
pub mod redis;
pub mod share;
pub mod sqlite;
pub mod watch;

pub use cells::{Cell, Cells, Swap};
use history::{Counts, StoredInterval};
pub use watch::Watch;

/// The store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is full or broken; the operation may be tried again.
    #[error("the job store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is closed: the process is ending.
    #[error("the job store is closed")]
    Closed,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Code::StoreUnavailable, "the job store is unavailable").with_source(error)
    }
}

/// What a store answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Whether a step under a lease was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fenced<T = ()> {
    /// It was.
    Applied(T),
    /// The lease is no longer the job's: nothing was changed.
    Stale,
}

/// What became of an order to cancel.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancellation {
    /// Whether this order ended the job: not if it was final already.
    pub applied: bool,
    /// The job as it is now.
    pub job: JobView,
}

/// What callers of the API need.
#[async_trait]
pub trait Submissions: Send + Sync {
    /// Stores a job (and the document change it carries) before it returns; idempotent under its key. The limits of
    /// the queue are not for replays: they add no work that had not been accepted before.
    async fn submit(&self, job: NewJob) -> Result<Submitted>;

    /// The job, if it is the tenant's.
    async fn job(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>>;

    /// Cancels the job unless it is final. None: no such job of the tenant.
    async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<Option<Cancellation>>;

    /// Wakes whenever the job's status or event log changes, in this process or another.
    fn watch(&self, id: JobId) -> Watch;

    /// The events after number `after` (all, if none), at most `limit`; also marks the log as being read,
    /// so that deltas come at a reader's pace. None: no such job of the tenant.
    async fn events(&self, tenant: &Tenant, id: JobId, after: Option<u64>, limit: usize) -> Result<Option<EventPage>>;
}

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

    /// Ends the job. Stale also for an ingestion that can't be applied as it stands, and was queued again
    /// uncounted: "unchanged" against content that was replaced meanwhile, "replaced" during a sweep of the
    /// document's older chunks (see [`Documents::leftovers`]), which may have taken the new ones with it.
    async fn finish(&self, lease: &Lease, finish: Finish) -> Result<Fenced>;

    /// Puts the job back.
    async fn release(&self, lease: &Lease, release: Release) -> Result<Fenced>;

    /// Adds what the delivery's calls to model providers cost to the job's record. Not fenced: it was spent, whoever has
    /// the job now.
    async fn spend(&self, lease: &Lease, spent: UsageTotal) -> Result<()>;

    /// The worker leaves: what it still holds is handed back uncounted.
    async fn leave(&self, worker: &WorkerId) -> Result<()>;

    /// The last `limit` turns of a conversation, oldest first.
    async fn turns(&self, tenant: &Tenant, conversation_id: &str, limit: usize) -> Result<Vec<Turn>>;
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// What to ask for the next page with; none: this was the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page out of a list that was asked for one item more than the page holds.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { next_cursor: items.last().filter(|_| more).map(cursor), items }
    }
}

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

impl DeadCursor {
    /// Reads a cursor; one that was never given out is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.rsplit_once('-')?;
        Some(Self { at: at.parse().ok()?, id: id.parse().ok()? })
    }
}

/// Which documents have chunks of superseded versions left in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Whose.
    pub tenant: Tenant,
    /// Which document.
    pub document_id: DocumentId,
    /// The version to keep; none: all of it may go.
    pub keep: Option<u64>,
    /// The registry's state this was read at, given back to `swept`.
    pub applied_version: u64,
}

/// The document registry: which documents there are, and which version of each is seen.
#[async_trait]
pub trait Documents: Send + Sync {
    /// One document; deleted ones are not there.
    async fn document(&self, tenant: &Tenant, id: &DocumentId) -> Result<Option<DocumentRecord>>;

    /// Documents by id, from after `cursor`.
    async fn documents(
        &self,
        tenant: &Tenant,
        collection: Option<&Collection>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>>;

    /// All collections that hold documents, by name.
    async fn collections(&self, tenant: &Tenant) -> Result<Vec<CollectionRecord>>;

    /// Of the given documents those that are seen, each with its collection and the version that is seen.
    async fn visible(&self, tenant: &Tenant, ids: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>>;

    /// Documents whose superseded chunks are to be removed from the index. A document with an
    /// ingestion under way is not among them. From here until `swept`, a minute at most, the document
    /// counts as being swept.
    async fn leftovers(&self, limit: usize) -> Result<Vec<Leftover>>;

    /// The leftover was removed; void if the registry has moved on since.
    async fn swept(&self, leftover: &Leftover) -> Result<()>;
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

    /// Adds an entry to the audit log.
    async fn note(&self, note: &AuditNote) -> Result<()>;

    /// The audit log, newest first, from after `cursor`.
    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<Page<AuditEntry>>;

    /// The intervals of the last `minutes` (up to 60) in which a process was up, oldest first.
    async fn history(&self, minutes: u64) -> Result<Vec<StoredInterval>>;
}

/// One step of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayStep {
    /// How many letters to put back at most; a store may put back fewer. None: only look what became of earlier ones.
    pub max: usize,
    /// Whether the step is written to the replay's log.
    pub tell: bool,
}

/// What jobs of kind `replay` need.
#[async_trait]
pub trait Replays: Send + Sync {
    /// How many dead letters are of the selection, and the store's present instant.
    async fn count_letters(&self, selection: &Selection) -> Result<(u64, Timestamp)>;

    /// Puts the next letters of the order back into the queue, newest first, and looks at some of those that it put
    /// back earlier. What was done is kept with the job, so that whoever has its next lease goes on from there.
    async fn replay_letters(&self, lease: &Lease, order: &ReplayOrder, step: ReplayStep)
    -> Result<Fenced<ReplayTally>>;
}

/// How many jobs of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind([u64; 3]);

impl PerKind {
    /// Of one kind.
    pub const fn of(self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Of all kinds.
    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// So many more of one kind.
    pub const fn add(&mut self, kind: Kind, jobs: u64) {
        self.0[kind as usize] += jobs;
    }
}

impl From<[u64; 3]> for PerKind {
    /// In the order of the kinds.
    fn from(jobs: [u64; 3]) -> Self {
        Self(jobs)
    }
}

impl std::ops::AddAssign for PerKind {
    fn add_assign(&mut self, more: Self) {
        for kind in Kind::ALL {
            self.add(*kind, more.of(*kind));
        }
    }
}

/// What one round of housekeeping did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Scheduled jobs that became queued.
    pub promoted: u64,
    /// Jobs taken back from workers that fell silent.
    pub leases_lost: u64,
    /// Of those, dead as poison.
    pub poisoned: PerKind,
    /// Jobs that died of their deadline while waiting, whether this round found them or a fetch before it.
    pub deadlines: PerKind,
    /// Finished jobs whose retention was over.
    pub expired: u64,
    /// How long until there is more to do: something is due, a lease or a deadline ends. None: nothing is known.
    pub next_due: Option<Duration>,
}

/// Housekeeping, run by whoever is up; safe to run in many places at once.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Promotes what is due, takes back expired leases, buries what is past its deadline, removes what
    /// has expired; at most 1,000 of each. To be called at least twice per lease time: after a longer
    /// silence leases are given time to be renewed, because no worker may have been able to.
    async fn upkeep(&self) -> Result<Upkeep>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;

    /// What this process counts for the history; `upkeep` tells it to the others.
    fn counts(&self) -> &Counts;
}

/// The whole port.
pub trait JobStore: Submissions + Deliveries + Documents + Operations + Replays + Maintenance + Cells {}
impl<T: Submissions + Deliveries + Documents + Operations + Replays + Maintenance + Cells> JobStore for T {}

/// A job store shared by all parts of a process.
pub type SharedJobStore = Arc<dyn JobStore>;
