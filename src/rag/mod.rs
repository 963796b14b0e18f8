//! The use cases: answering a question, taking in a document. They know the ports, never an adapter.

use crate::domain::failure::Failure;

pub mod ask;
pub mod ingest;
mod kept;
pub mod markers;
pub mod payload;
pub mod prompt;
pub mod retrieve;
pub mod support;

/// Why a use case stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The job is no longer ours: whatever is done now is void.
    #[error("the lease was lost")]
    LeaseLost,
    /// The job was cancelled while it ran.
    #[error("the job was cancelled")]
    Cancelled,
    /// The worker is leaving: the job goes back uncounted.
    #[error("the worker is leaving")]
    Leaving,
}

impl From<crate::queue::StoreError> for Halt {
    fn from(error: crate::queue::StoreError) -> Self {
        Self::Failed(error.into())
    }
}
