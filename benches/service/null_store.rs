//! A job store that accepts and forgets: what a request costs before it is stored.

use std::collections::HashMap;

use async_trait::async_trait;
use ragq::{
    domain::{
        answer::{Context, Turn},
        audit::{AuditEntry, AuditNote},
        clock::Timestamp,
        document::{CollectionRecord, DocumentRecord},
        event::EventPage,
        ids::{Collection, DocumentId, JobId, Lease, Tenant, WorkerId},
        job::{DeadLetter, Delivery, JobView, Kind, NewJob, Status, Submitted},
        replay::{ReplayOrder, ReplayTally, Selection},
        spent::UsageTotal,
    },
    queue::{
        CancelStep, CancelTally, Cancellation, Cell, Cells, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup,
        Deliveries, Documents, Fenced, Finish, Leftover, Maintenance, Operations, Page, QueueStats, Release, Replay,
        ReplayStep, Replays, Result, StoreError, Submissions, Swap, Upkeep, Watch, WorkerInfo,
        history::{Counts, StoredInterval},
        watch::Watchers,
    },
};
use serde_json::Value;

/// Accepts every job at once.
#[derive(Default)]
pub struct NullStore {
    watchers: Watchers,
    counts: Counts,
}

#[async_trait]
impl Submissions for NullStore {
    async fn submit(&self, job: NewJob) -> Result<Submitted> {
        Ok(Submitted::Accepted(job.id))
    }
    async fn job(&self, _: &Tenant, _: JobId) -> Result<Option<JobView>> {
        Ok(None)
    }
    async fn cancel(&self, _: &Tenant, _: JobId) -> Result<Option<Cancellation>> {
        Ok(None)
    }
    fn watch(&self, id: JobId) -> Watch {
        self.watchers.watch(id)
    }
    async fn events(&self, _: &Tenant, _: JobId, _: Option<u64>, _: usize) -> Result<Option<EventPage>> {
        Ok(None)
    }
}

#[async_trait]
impl Deliveries for NullStore {
    async fn heartbeat(&self, _: &WorkerInfo) -> Result<()> {
        Ok(())
    }
    async fn fetch(&self, _: &WorkerId, _: Kind, _: usize) -> Result<Vec<Delivery>> {
        Ok(Vec::new())
    }
    async fn fetch_deletions(&self, _: &WorkerId, _: usize) -> Result<Vec<Delivery>> {
        Ok(Vec::new())
    }
    async fn wait_for_work(&self, _: Kind) {
        std::future::pending::<()>().await;
    }
    fn watch_delivery(&self, lease: &Lease) -> Watch {
        self.watchers.watch(lease.job)
    }
    async fn holds(&self, _: &Lease) -> Result<bool> {
        Ok(true)
    }

    async fn upload(&self, _: JobId) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    async fn save_context(&self, _: &Lease, _: &Context) -> Result<Fenced> {
        Ok(Fenced::Stale)
    }
    async fn append_delta(&self, _: &Lease, _: String) -> Result<Fenced<bool>> {
        Ok(Fenced::Stale)
    }
    async fn finish(&self, _: &Lease, _: Finish, _: UsageTotal) -> Result<Fenced> {
        Ok(Fenced::Stale)
    }
    async fn release(&self, _: &Lease, _: Release, _: UsageTotal) -> Result<Fenced> {
        Ok(Fenced::Stale)
    }
    async fn spend(&self, _: &Lease, _: UsageTotal) -> Result<()> {
        Ok(())
    }
    async fn leave(&self, _: &WorkerId) -> Result<()> {
        Ok(())
    }
    async fn turns(&self, _: &Tenant, _: &str, _: usize) -> Result<Vec<Turn>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Documents for NullStore {
    async fn document(&self, _: &Tenant, _: &DocumentId) -> Result<Option<DocumentRecord>> {
        Ok(None)
    }
    async fn documents(
        &self,
        _: &Tenant,
        _: Option<&Collection>,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<DocumentRecord>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }
    async fn collections(&self, _: &Tenant) -> Result<Vec<CollectionRecord>> {
        Ok(Vec::new())
    }
    async fn visible(&self, _: &Tenant, _: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>> {
        Ok(HashMap::new())
    }
    async fn leftovers(&self, _: usize) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }
    async fn swept(&self, _: &Leftover) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Operations for NullStore {
    async fn stats(&self) -> Result<QueueStats> {
        Err(StoreError::Closed)
    }
    async fn pause(&self, _: &[Kind]) -> Result<()> {
        Err(StoreError::Closed)
    }
    async fn resume(&self, _: &[Kind]) -> Result<()> {
        Err(StoreError::Closed)
    }
    async fn dead_letters(&self, _: &DeadLetterFilter, _: Option<&str>, _: usize) -> Result<Page<DeadLetter>> {
        Err(StoreError::Closed)
    }
    async fn dead_letter_groups(&self, _: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>> {
        Err(StoreError::Closed)
    }
    async fn dead_letter(&self, _: JobId) -> Result<Option<DeadLetterDetail>> {
        Err(StoreError::Closed)
    }
    async fn replay(&self, _: JobId, _: Option<Value>) -> Result<Replay> {
        Err(StoreError::Closed)
    }
    async fn discard(&self, _: JobId) -> Result<bool> {
        Err(StoreError::Closed)
    }
    async fn cancel_some(&self, _: Kind, _: Status, _: CancelStep) -> Result<CancelTally> {
        Err(StoreError::Closed)
    }
    async fn note(&self, _: &AuditNote) -> Result<()> {
        Ok(())
    }
    async fn audit(&self, _: Option<&str>, _: usize) -> Result<Page<AuditEntry>> {
        Err(StoreError::Closed)
    }
    async fn history(&self, _: u64) -> Result<Vec<StoredInterval>> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Replays for NullStore {
    async fn count_letters(&self, _: &Selection) -> Result<(u64, Timestamp)> {
        Err(StoreError::Closed)
    }
    async fn replay_letters(&self, _: &Lease, _: &ReplayOrder, _: ReplayStep) -> Result<Fenced<ReplayTally>> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Maintenance for NullStore {
    async fn upkeep(&self) -> Result<Upkeep> {
        Ok(Upkeep::default())
    }
    async fn ping(&self) -> Result<()> {
        Ok(())
    }
    fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[async_trait]
impl Cells for NullStore {
    async fn cell(&self, _: &str) -> Result<Cell> {
        Ok(Cell::default())
    }
    async fn swap_cell(&self, _: &str, _: u64, _: &str, _: bool) -> Result<Swap> {
        Ok(Swap::Applied(Cell::default()))
    }
    fn watch_cell(&self, _: &str) -> tokio::sync::watch::Receiver<Cell> {
        tokio::sync::watch::Sender::new(Cell::default()).subscribe()
    }
}
