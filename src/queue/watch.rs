//! Wakes whoever waits for a job's next change: long polls, event streams, workers whose lease may go.
//!
//! A store tells the [`Watchers`] of every change it commits or hears of; a [`Watch`] is one waiter.
//! Nothing is kept for a job that nobody watches.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::domain::{ids::JobId, job::Status};

/// The latest that is known of a watched job. `generation` rises with every change, so that a change
/// between two looks is never missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Rises with every change.
    pub generation: u64,
    /// The status after the change; none until the first.
    pub status: Option<Status>,
}

type Jobs = HashMap<JobId, watch::Sender<Pulse>>;

/// All waiters of one process.
#[derive(Clone, Debug, Default)]
pub struct Watchers {
    jobs: Arc<Mutex<Jobs>>,
}

impl Watchers {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Nothing panics while the lock is held; a poisoned map would still be whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts watching a job. Begin to watch before looking at the job, so that no change falls between.
    pub fn watch(&self, job: JobId) -> Watch {
        let receiver = self.jobs().entry(job).or_insert_with(|| watch::Sender::new(Pulse::default())).subscribe();
        Watch { job, receiver: Some(receiver), watchers: self.clone(), keeps_alive: None }
    }

    /// The same, keeping something for as long as it is watched.
    pub fn watch_with(&self, job: JobId, keeps: impl Debug + Send + Sync + 'static) -> Watch {
        let mut watch = self.watch(job);
        watch.keeps_alive = Some(Box::new(keeps));
        watch
    }

    /// The jobs that are watched at present.
    pub fn watched(&self) -> Vec<JobId> {
        self.jobs().keys().copied().collect()
    }

    /// Tells of a change of a job.
    pub fn changed(&self, job: JobId, status: Status) {
        if let Some(sender) = self.jobs().get(&job) {
            sender.send_modify(|pulse| {
                pulse.generation += 1;
                pulse.status = Some(status);
            });
        }
    }

    /// How many jobs are watched.
    pub fn len(&self) -> usize {
        self.jobs().len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.jobs().is_empty()
    }
}

/// One waiter for one job's changes.
#[derive(Debug)]
pub struct Watch {
    job: JobId,
    receiver: Option<watch::Receiver<Pulse>>,
    watchers: Watchers,
    /// Let go of with the watch.
    keeps_alive: Option<Box<dyn Keep>>,
}

/// Anything that may be kept with a watch.
trait Keep: Debug + Send + Sync {}
impl<T: Debug + Send + Sync> Keep for T {}

impl Watch {
    /// Resolves with the latest pulse once there is one that this waiter has not seen. Cancel safe.
    pub async fn changed(&mut self) -> Pulse {
        if let Some(receiver) = &mut self.receiver
            && receiver.changed().await.is_ok()
        {
            return *receiver.borrow_and_update();
        }
        // The sender lives as long as a watch does, so this is never reached; waiting is harmless.
        std::future::pending().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut jobs = self.watchers.jobs();
        self.receiver = None;
        if jobs.get(&self.job).is_some_and(|sender| sender.receiver_count() == 0) {
            jobs.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_two_looks_is_not_missed_and_nothing_is_kept_after_the_last_waiter() {
        let watchers = Watchers::default();
        let job = JobId::new(0);
        let mut first = watchers.watch(job);
        let second = watchers.watch(job);
        watchers.changed(job, Status::Running);
        watchers.changed(job, Status::Completed);
        assert_eq!(first.changed().await, Pulse { generation: 2, status: Some(Status::Completed) });
        drop(first);
        assert_eq!(watchers.len(), 1);
        drop(second);
        assert!(watchers.is_empty());
    }
}
