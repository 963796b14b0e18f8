//! What the replay of many dead letters needs of the job store.

use async_trait::async_trait;

use super::{Fenced, Result};
use crate::domain::{
    clock::Timestamp,
    ids::Lease,
    replay::{ReplayOrder, ReplayTally, Selection},
};

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
