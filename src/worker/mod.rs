//! The worker: takes deliveries from the job store, runs a handler on them (the use cases), settles what came of
//! them.
//!
//! [`backend`] and [`settle`] are all that knows apalis; [`process`] is one delivery; [`upkeep`] is the
//! housekeeping that goes on beside.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{ids::WorkerId, job::Kind},
    gate::KindGate,
    queue::{SharedJobStore, WorkerInfo},
    resilience::{backoff::Backoff, decision::RetryPolicy},
    telemetry::metrics::Metrics,
};

mod backend;
mod process;
mod runtime;
mod settle;
pub mod upkeep;

pub use process::{Handler, Processor};

/// How a worker process is set up.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The name its boots go by.
    pub name: String,
    /// How many jobs of each kind it takes at a time, and how long one delivery of them may last.
    pub kinds: HashMap<Kind, KindSettings>,
    /// How often it says that it lives.
    pub heartbeat: Duration,
    /// How jobs are retried.
    pub policy: RetryPolicy,
}

/// The part of one kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSettings {
    /// How many at a time.
    pub slots: u32,
    /// How long one delivery may last.
    pub timeout: Duration,
}

/// The ways to end a worker.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no more jobs.
    pub drain: CancellationToken,
    /// Hand back what still runs.
    pub hand_back: CancellationToken,
}

/// A worker ended though nobody told it to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// apalis' runtime gave up.
    #[error("the worker runtime ended")]
    Runtime(#[from] apalis_core::error::WorkerError),
    /// One of its tasks panicked.
    #[error("a task of the worker panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// A worker of one process: all its kinds, its heartbeat, its housekeeping.
pub struct Worker {
    store: SharedJobStore,
    handler: Arc<dyn Handler>,
    settings: WorkerSettings,
    info: WorkerInfo,
    upkeep: Arc<Notify>,
    gates: HashMap<Kind, KindGate>,
    metrics: Metrics,
}

/// Waits between tries to reach a job store that does not answer.
pub(crate) const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

impl Worker {
    /// A new boot of the worker.
    pub fn new(
        store: SharedJobStore,
        handler: Arc<dyn Handler>,
        settings: WorkerSettings,
        upkeep: Arc<Notify>,
        metrics: Metrics,
    ) -> Self {
        let info = WorkerInfo {
            id: WorkerId::boot(&settings.name),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: settings.kinds.iter().map(|(kind, settings)| (*kind, settings.slots)).collect(),
        };
        for (kind, slots) in &info.slots {
            metrics.slots(*kind, *slots);
        }
        Self { store, handler, settings, info, upkeep, gates: HashMap::new(), metrics }
    }

    /// The same, fetching jobs only as far as the gates of their kinds let them through.
    #[must_use]
    pub fn behind(mut self, gates: HashMap<Kind, KindGate>) -> Self {
        self.gates = gates;
        self
    }

    /// Works until told to stop; then finishes what runs, or hands it back when told so. Returns once every
    /// job it held is settled.
    pub async fn run(self, stop: Stop) -> Result<(), WorkerError> {
        // Orders of its own beneath those of the process: it gives them itself when one of its parts fails.
        let stop = Stop { drain: stop.drain.child_token(), hand_back: stop.hand_back.child_token() };
        let tracker = TaskTracker::new();
        let gone = CancellationToken::new();
        let beating =
            tracker.spawn(heartbeat(self.store.clone(), self.info.clone(), self.settings.heartbeat, gone.clone()));
        let kinds = self.settings.kinds.iter().map(|(kind, settings)| {
            runtime::run(runtime::KindWorker {
                store: self.store.clone(),
                handler: self.handler.clone(),
                worker: self.info.id.clone(),
                kind: *kind,
                gate: self.gates.get(kind).cloned().unwrap_or_default(),
                settings: *settings,
                policy: self.settings.policy,
                stop: stop.clone(),
                upkeep: self.upkeep.clone(),
                tracker: tracker.clone(),
                metrics: self.metrics.clone(),
            })
        });
        let result = futures::future::try_join_all(kinds).await;
        if result.is_err() {
            // Nobody is left to settle what still runs: it ends now, and leaving hands it back.
            stop.drain.cancel();
            stop.hand_back.cancel();
        }
        gone.cancel();
        beating.await?;
        tracker.close();
        tracker.wait().await;
        if let Err(error) = self.store.leave(&self.info.id).await {
            tracing::warn!(error = &error as &dyn Error, "leaving the queue failed, its leases will expire");
        }
        result.map(|_| ())
    }
}

/// Says that the worker lives, until it is gone.
async fn heartbeat(store: SharedJobStore, info: WorkerInfo, every: Duration, gone: CancellationToken) {
    let mut failures = 0;
    loop {
        let wait = match store.heartbeat(&info).await {
            Ok(()) => {
                failures = 0;
                every
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = &error as &dyn Error, "heartbeat failed");
                STORE_BACKOFF.wait(failures).min(every)
            }
        };
        tokio::select! {
            () = gone.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
