//! What callers of the API need of the job store: to hand jobs in, to look at them, to follow and to cancel them.

use async_trait::async_trait;

use super::{Result, Watch};
use crate::domain::{
    event::EventPage,
    ids::{JobId, Tenant},
    job::{JobView, NewJob, Submitted},
};

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
