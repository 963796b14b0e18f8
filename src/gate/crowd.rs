//! How many calls this process has under way at one gate.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    domain::failure::{Code, Failure},
    resilience::concurrency::{self, Concurrency, Ended, Entered},
};

/// One gate's calls and jobs of this process.
pub(super) struct Crowd {
    concurrency: Mutex<Concurrency>,
    /// The breaker's generation that was followed last.
    generation: AtomicU64,
    /// The one with which calls were begun slowly last.
    restarted: AtomicU64,
    changed: watch::Sender<()>,
}

impl Crowd {
    /// At most so many calls at a time.
    pub(super) fn new(most: u32) -> Self {
        let concurrency = Mutex::new(Concurrency::new(most));
        Self {
            concurrency,
            generation: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }
    }

    fn concurrency(&self) -> MutexGuard<'_, Concurrency> {
        // Nothing panics while the lock is held.
        self.concurrency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the breaker: what failed before its generation is forgotten, and a provider that was found well again
    /// is called slowly at first.
    pub(super) fn follow(&self, generation: u64, closed_lately: bool) {
        let is_new = self.generation.swap(generation, Ordering::Relaxed) != generation;
        if is_new {
            self.concurrency().forget_failures();
        }
        let restarts = closed_lately && self.restarted.swap(generation, Ordering::Relaxed) != generation;
        if restarts {
            self.concurrency().restart();
        }
        if is_new || restarts {
            self.changed.send_replace(());
        }
    }

    /// How many calls are under way.
    pub(super) fn under_way(&self) -> u32 {
        self.concurrency().under_way()
    }

    /// How many more jobs may be fetched to call here.
    pub(super) fn room(&self) -> usize {
        self.concurrency().room() as usize
    }

    /// Counts a job that was fetched to call here.
    pub(super) fn job(self: &Arc<Self>) -> Fetched {
        let fetched = self.concurrency().fetch();
        Fetched { crowd: self.clone(), fetched }
    }

    /// The right to make a call, however many are under way: for a probe.
    pub(super) fn push_in(self: &Arc<Self>) -> Place {
        let entered = self.concurrency().push_in();
        Place { crowd: self.clone(), entered, ended: Ended::Otherwise }
    }

    /// Resolves with the right to make a call as soon as it is not one too many.
    pub(super) async fn enter(self: &Arc<Self>, patience: Duration) -> Result<Place, Failure> {
        let entering = async {
            loop {
                let mut changes = self.changes();
                if let Some(entered) = self.concurrency().enter() {
                    return entered;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match timeout(patience, entering).await {
            Ok(entered) => Ok(Place { crowd: self.clone(), entered, ended: Ended::Otherwise }),
            Err(_) => {
                Err(Failure::new(Code::BudgetExhausted, "the provider is slow, and enough calls are under way to it"))
            }
        }
    }
}

/// A job that was fetched to call here.
pub(super) struct Fetched {
    crowd: Arc<Crowd>,
    fetched: concurrency::Fetched,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.crowd.concurrency().settle(self.fetched);
        self.crowd.changed.send_replace(());
    }
}

/// The place of one call under way.
pub struct Place {
    crowd: Arc<Crowd>,
    entered: Entered,
    pub(super) ended: Ended,
}

impl Place {
    /// The call's first token came, or all of its answer.
    pub(super) fn spoke(&self) {
        self.crowd.concurrency().spoke(self.entered);
        self.crowd.changed.send_replace(());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.concurrency().leave(self.entered, self.ended);
        self.crowd.changed.send_replace(());
    }
}
