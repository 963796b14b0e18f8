//! Housekeeping of the job store: what time brings about.

use std::time::Duration;

use async_trait::async_trait;

use super::{Result, history::Counts};
use crate::domain::job::Kind;

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
