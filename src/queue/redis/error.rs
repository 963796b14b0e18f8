//! Why a call of the store failed, and what its callers get to see of it.

use std::sync::Arc;

use super::link::LinkError;
use crate::queue::StoreError;

/// A script call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server could not be reached or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The answer is not what the script gives: the keys were changed by something else.
    #[error("unexpected answer of {script}: {detail}")]
    Answer {
        /// The script.
        script: &'static str,
        /// What is wrong; nothing of what is stored.
        detail: &'static str,
    },
    /// The store is closed.
    #[error("the job store is closed")]
    Closed,
}

impl CallError {
    /// Whether the server is only away, or can't write for now: the same call may succeed later.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Link(LinkError::Unreachable(_) | LinkError::Disk(_)))
    }

    /// Whether the server was there and could not carry the call out, which may be for one request of several in it.
    pub(super) fn is_of_the_call(&self) -> bool {
        matches!(self, Self::Link(LinkError::Broken(_)))
    }

    /// Whether the server refused because its memory is used up.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Link(LinkError::Full(_)))
    }
}

/// One failure of a call that many shared.
#[derive(Debug, thiserror::Error)]
#[error("a call shared with others failed")]
struct Shared(#[source] Arc<CallError>);

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Closed,
            CallError::Link(_) | CallError::Answer { .. } => Self::Unavailable(error.into()),
        }
    }
}

impl From<Arc<CallError>> for StoreError {
    fn from(error: Arc<CallError>) -> Self {
        match &*error {
            CallError::Closed => Self::Closed,
            CallError::Link(_) | CallError::Answer { .. } => Self::Unavailable(Shared(error).into()),
        }
    }
}
