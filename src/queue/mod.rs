//! The job store as a port: all that api, worker and operator ask of the durable queue.
//!
//! Adapters: [`sqlite`], [`redis`]. Each operation is one atomic step of the store, stamped with the store's own
//! clock. A store never interprets a payload, except that it keeps the document registry in step with
//! the jobs that change documents.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::failure::{Code, Failure};

pub mod cells;
mod deliveries;
mod documents;
pub mod history;
mod maintenance;
pub mod observed;
mod operations;
pub mod redis;
mod replays;
pub mod share;
pub mod sqlite;
mod submissions;
pub mod watch;

pub use cells::{Cell, Cells, Swap};
pub use deliveries::{Deliveries, Finish, Release, WorkerInfo};
pub use documents::{Documents, Leftover};
pub use maintenance::{Maintenance, PerKind, Upkeep};
pub use operations::{
    CancelStep, CancelTally, Condition, DeadCursor, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, KindStats,
    Operations, QueueStats, Replay, WorkerView,
};
pub use replays::{ReplayStep, Replays};
pub use submissions::{Cancellation, Submissions};
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

/// The whole port.
pub trait JobStore: Submissions + Deliveries + Documents + Operations + Replays + Maintenance + Cells {}
impl<T: Submissions + Deliveries + Documents + Operations + Replays + Maintenance + Cells> JobStore for T {}

/// A job store shared by all parts of a process.
pub type SharedJobStore = Arc<dyn JobStore>;
