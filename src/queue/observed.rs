//! A job store whose every operation is timed, and what it does to jobs counted.
//!
//! Counting stands here, in front of the port, and not at each caller: whoever submits, cancels, replays or keeps house,
//! it is counted once, and only what the store did. What a worker makes of its deliveries it counts itself: a lease
//! does not say what kind of job it is of.

use std::{collections::HashMap, time::Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    CancelStep, CancelTally, Cancellation, Cell, Cells, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup,
    Deliveries, Documents, Fenced, Finish, Leftover, Maintenance, Operations, Page, QueueStats, Release, Replay,
    ReplayStep, Replays, Result, SharedJobStore, Submissions, Swap, Upkeep, Watch, WorkerInfo,
    history::{Counts, StoredInterval},
};
use crate::{
    domain::{
        answer::{Context, Turn},
        audit::{AuditEntry, AuditNote},
        clock::Timestamp,
        document::{CollectionRecord, DocumentRecord},
        event::EventPage,
        ids::{Collection, DocumentId, JobId, Lease, Tenant, WorkerId},
        job::{DeadLetter, DeadReason, Delivery, JobView, Kind, NewJob, Status, Submitted},
        replay::{ReplayOrder, ReplayTally, Selection},
        spent::UsageTotal,
    },
    telemetry::metrics::{Metrics, StoreOperation as Op},
};

/// A job store under observation.
pub struct Observed {
    inner: SharedJobStore,
    metrics: Metrics,
}

impl Observed {
    /// Observes `inner`.
    pub fn new(inner: SharedJobStore, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn handed_over(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            self.metrics.delivered(delivery.kind, delivery.delivered_at.since(delivery.queued_at));
        }
    }

    async fn timed<T>(&self, operation: Op, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let begun = Instant::now();
        let answer = call.await;
        self.metrics.store(operation, begun.elapsed(), answer.is_err());
        answer
    }
}

#[async_trait]
impl Submissions for Observed {
    async fn submit(&self, job: NewJob) -> Result<Submitted> {
        let kind = job.kind;
        let submitted = self.timed(Op::Submit, self.inner.submit(job)).await?;
        match submitted {
            Submitted::Accepted(_) => self.metrics.submitted(kind),
            Submitted::QueueFull { .. } => self.metrics.refused(kind),
            Submitted::Replayed(_) | Submitted::IdempotencyMismatch => {}
        }
        Ok(submitted)
    }

    async fn job(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>> {
        self.timed(Op::Read, self.inner.job(tenant, id)).await
    }

    async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<Option<Cancellation>> {
        let cancellation = self.timed(Op::Cancel, self.inner.cancel(tenant, id)).await?;
        if let Some(Cancellation { applied: true, job }) = &cancellation {
            self.metrics.cancelled(job.kind, 1);
        }
        Ok(cancellation)
    }

    fn watch(&self, id: JobId) -> Watch {
        self.inner.watch(id)
    }

    async fn events(&self, tenant: &Tenant, id: JobId, after: Option<u64>, limit: usize) -> Result<Option<EventPage>> {
        self.timed(Op::Read, self.inner.events(tenant, id, after, limit)).await
    }
}

#[async_trait]
impl Deliveries for Observed {
    async fn heartbeat(&self, worker: &WorkerInfo) -> Result<()> {
        self.timed(Op::Heartbeat, self.inner.heartbeat(worker)).await
    }

    async fn fetch(&self, worker: &WorkerId, kind: Kind, max: usize) -> Result<Vec<Delivery>> {
        let deliveries = self.timed(Op::Fetch, self.inner.fetch(worker, kind, max)).await?;
        self.handed_over(&deliveries);
        Ok(deliveries)
    }

    async fn fetch_deletions(&self, worker: &WorkerId, max: usize) -> Result<Vec<Delivery>> {
        let deliveries = self.timed(Op::Fetch, self.inner.fetch_deletions(worker, max)).await?;
        self.handed_over(&deliveries);
        Ok(deliveries)
    }

    async fn wait_for_work(&self, kind: Kind) {
        self.inner.wait_for_work(kind).await;
    }

    fn watch_delivery(&self, lease: &Lease) -> Watch {
        self.inner.watch_delivery(lease)
    }

    async fn holds(&self, lease: &Lease) -> Result<bool> {
        self.timed(Op::Read, self.inner.holds(lease)).await
    }

    async fn upload(&self, job: JobId) -> Result<Option<Vec<u8>>> {
        self.timed(Op::Read, self.inner.upload(job)).await
    }

    async fn save_context(&self, lease: &Lease, context: &Context) -> Result<Fenced> {
        self.timed(Op::Write, self.inner.save_context(lease, context)).await
    }

    async fn append_delta(&self, lease: &Lease, text: String) -> Result<Fenced<bool>> {
        self.timed(Op::Write, self.inner.append_delta(lease, text)).await
    }

    async fn finish(&self, lease: &Lease, finish: Finish, cost: UsageTotal) -> Result<Fenced> {
        self.timed(Op::Finish, self.inner.finish(lease, finish, cost)).await
    }

    async fn release(&self, lease: &Lease, release: Release, cost: UsageTotal) -> Result<Fenced> {
        self.timed(Op::Release, self.inner.release(lease, release, cost)).await
    }

    async fn spend(&self, lease: &Lease, cost: UsageTotal) -> Result<()> {
        self.timed(Op::Release, self.inner.spend(lease, cost)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.timed(Op::Release, self.inner.leave(worker)).await
    }

    async fn turns(&self, tenant: &Tenant, conversation_id: &str, limit: usize) -> Result<Vec<Turn>> {
        self.timed(Op::Read, self.inner.turns(tenant, conversation_id, limit)).await
    }
}

#[async_trait]
impl Documents for Observed {
    async fn document(&self, tenant: &Tenant, id: &DocumentId) -> Result<Option<DocumentRecord>> {
        self.timed(Op::Documents, self.inner.document(tenant, id)).await
    }

    async fn documents(
        &self,
        tenant: &Tenant,
        collection: Option<&Collection>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>> {
        self.timed(Op::Documents, self.inner.documents(tenant, collection, cursor, limit)).await
    }

    async fn collections(&self, tenant: &Tenant) -> Result<Vec<CollectionRecord>> {
        self.timed(Op::Documents, self.inner.collections(tenant)).await
    }

    async fn visible(&self, tenant: &Tenant, ids: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>> {
        self.timed(Op::Documents, self.inner.visible(tenant, ids)).await
    }

    async fn leftovers(&self, limit: usize) -> Result<Vec<Leftover>> {
        self.timed(Op::Documents, self.inner.leftovers(limit)).await
    }

    async fn swept(&self, leftover: &Leftover) -> Result<()> {
        self.timed(Op::Documents, self.inner.swept(leftover)).await
    }
}

#[async_trait]
impl Operations for Observed {
    async fn stats(&self) -> Result<QueueStats> {
        self.timed(Op::Operate, self.inner.stats()).await
    }

    async fn pause(&self, kinds: &[Kind]) -> Result<()> {
        self.timed(Op::Operate, self.inner.pause(kinds)).await
    }

    async fn resume(&self, kinds: &[Kind]) -> Result<()> {
        self.timed(Op::Operate, self.inner.resume(kinds)).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        self.timed(Op::Operate, self.inner.dead_letters(filter, cursor, limit)).await
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>> {
        self.timed(Op::Operate, self.inner.dead_letter_groups(filter)).await
    }

    async fn dead_letter(&self, id: JobId) -> Result<Option<DeadLetterDetail>> {
        self.timed(Op::Operate, self.inner.dead_letter(id)).await
    }

    async fn replay(&self, id: JobId, payload: Option<Value>) -> Result<Replay> {
        let replay = self.timed(Op::Operate, self.inner.replay(id, payload)).await?;
        if replay == Replay::Replayed {
            self.metrics.replayed(1);
        }
        Ok(replay)
    }

    async fn discard(&self, id: JobId) -> Result<bool> {
        let discarded = self.timed(Op::Operate, self.inner.discard(id)).await?;
        if discarded {
            self.metrics.discarded(1);
        }
        Ok(discarded)
    }

    async fn cancel_some(&self, kind: Kind, status: Status, step: CancelStep) -> Result<CancelTally> {
        let tally = self.timed(Op::Cancel, self.inner.cancel_some(kind, status, step)).await?;
        self.metrics.cancelled(kind, tally.cancelled as u64);
        Ok(tally)
    }

    async fn note(&self, note: &AuditNote) -> Result<()> {
        self.timed(Op::Operate, self.inner.note(note)).await
    }

    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<Page<AuditEntry>> {
        self.timed(Op::Operate, self.inner.audit(cursor, limit)).await
    }

    async fn history(&self, minutes: u64) -> Result<Vec<StoredInterval>> {
        self.timed(Op::Operate, self.inner.history(minutes)).await
    }
}

#[async_trait]
impl Replays for Observed {
    async fn count_letters(&self, selection: &Selection) -> Result<(u64, Timestamp)> {
        self.timed(Op::Operate, self.inner.count_letters(selection)).await
    }

    async fn replay_letters(
        &self,
        lease: &Lease,
        order: &ReplayOrder,
        step: ReplayStep,
    ) -> Result<Fenced<ReplayTally>> {
        let done = self.timed(Op::Operate, self.inner.replay_letters(lease, order, step)).await?;
        if let Fenced::Applied(tally) = &done {
            self.metrics.replayed(tally.just_replayed);
        }
        Ok(done)
    }
}

#[async_trait]
impl Cells for Observed {
    async fn cell(&self, name: &str) -> Result<Cell> {
        self.timed(Op::Cells, self.inner.cell(name)).await
    }

    async fn swap_cell(&self, name: &str, version: u64, value: &str, announce: bool) -> Result<Swap> {
        self.timed(Op::Cells, self.inner.swap_cell(name, version, value, announce)).await
    }

    fn watch_cell(&self, name: &str) -> watch::Receiver<Cell> {
        self.inner.watch_cell(name)
    }
}

#[async_trait]
impl Maintenance for Observed {
    async fn upkeep(&self) -> Result<Upkeep> {
        let done = self.timed(Op::Upkeep, self.inner.upkeep()).await?;
        self.metrics.leases_lost(done.leases_lost);
        for kind in Kind::ALL {
            for (reason, jobs) in [(DeadReason::Poison, done.poisoned), (DeadReason::DeadlineExceeded, done.deadlines)]
            {
                self.metrics.dead(*kind, reason, None, jobs.of(*kind));
            }
        }
        Ok(done)
    }

    async fn ping(&self) -> Result<()> {
        self.timed(Op::Read, self.inner.ping()).await
    }

    fn counts(&self) -> &Counts {
        self.inner.counts()
    }
}
