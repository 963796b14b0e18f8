//! The job store on Redis or Valkey, for many processes.
//!
//! All that changes is done by the scripts in `lua/`, each one atomic step with the server's own clock.
//! [`link`] reaches the server, whatever way it is set up and whatever befalls it; [`batch`] lets callers share
//! round trips; [`wake`] waits for work without polling; [`announcements`] hears what other processes change.
//! Each of the other files implements one part of the port.
//!
//! Keys begin with the queue's name in braces, so that a queue lives in one Cluster slot. Where they fit they are
//! those of apalis-redis' `Config`, and a job that a plain apalis-redis producer pushes is taken in hand when it is
//! due.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use apalis_redis::Config;
use redis::{Cmd, FromRedisValue};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ulid::Ulid;

use self::{
    announcements::Announcements,
    batch::Batch,
    deliveries::{DeltaRequest, Fetches, FinishRequest, ReleaseRequest},
    error::CallError,
    history::History,
    link::{Confirm, Link, Script},
    maintenance::Reaper,
    wake::Wake,
};
use super::{cells::CellWatchers, watch::Watchers};
use crate::{
    domain::{
        clock::Clock,
        ids::JobId,
        job::{NewJob, Status, Submitted},
    },
    resilience::backoff::Backoff,
};

mod announcements;
mod batch;
mod cells;
mod deliveries;
mod documents;
mod error;
mod history;
pub mod link;
mod maintenance;
mod operations;
mod record;
mod replays;
mod scripts;
mod submissions;
mod wake;

/// The queue's name, also that of its hash tag.
pub const QUEUE: &str = "{ragq}";

/// Waits between tries to reach a server that does not answer, where giving up is no choice.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// The queue's name, in braces: the prefix and hash tag of all its keys.
    pub queue: String,
    /// How long a worker may be silent before its jobs are taken back.
    pub lease: Duration,
    /// Lost leases before a job is dead as poison, at least 1.
    pub max_lost_leases: u32,
    /// Jobs that may be unfinished before submits are refused.
    pub max_jobs: u64,
    /// Bytes of their payloads and uploads before submits are refused.
    pub max_bytes: u64,
    /// How long completed and cancelled jobs are kept.
    pub completed_retention: Duration,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// How long entries of the audit log are kept.
    pub audit_retention: Duration,
    /// How many attempts a job has that does not say so: one that another producer pushed.
    pub max_attempts: u32,
    /// For tests: a clock in place of the server's own.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            queue: QUEUE.to_owned(),
            lease: Duration::from_secs(15),
            max_lost_leases: 3,
            max_jobs: 1_000_000,
            max_bytes: 1024 * 1024 * 1024,
            completed_retention: Duration::from_hours(24),
            dead_retention: Duration::from_hours(14 * 24),
            audit_retention: Duration::from_hours(90 * 24),
            max_attempts: 5,
            clock: None,
        }
    }
}

impl RedisOptions {
    /// The key that gives scripts the queue's prefix, and the server the queue's slot.
    pub fn key(&self) -> String {
        self.config().job_data_hash()
    }

    fn config(&self) -> Config {
        Config::default().queue(&self.queue)
    }
}

/// What the store's tasks and its callers have in common.
#[derive(Debug)]
struct Shared {
    link: Link,
    options: RedisOptions,
    /// This store among all that share the queue.
    origin: String,
    watchers: Watchers,
    cells: CellWatchers,
    history: History,
}

impl Shared {
    /// Runs a script. `args` adds what the script takes beyond what all take.
    async fn call<T: FromRedisValue>(
        &self,
        script: &Script,
        confirm: Confirm,
        args: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, CallError> {
        self.call_again(script, confirm, false, args).await
    }

    /// The same, saying whether an earlier call may have done it already.
    async fn call_again<T: FromRedisValue>(
        &self,
        script: &Script,
        confirm: Confirm,
        sent_before: bool,
        args: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, CallError> {
        let args = |again: bool, command: &mut Cmd| {
            command.arg(&self.origin);
            match &self.options.clock {
                Some(clock) => command.arg(clock.now().0),
                None => command.arg(""),
            };
            command.arg(again || sent_before);
            args(command);
        };
        // Boxed: all that reaching the server may take would be part of every caller's future.
        Ok(Box::pin(self.link.script(script, confirm, args)).await?)
    }

    /// Tells this process's own waiters of what a script changed: id, status, id, status.
    fn changed(&self, list: &[String]) {
        for pair in list.chunks_exact(2) {
            if let (Ok(id), Ok(status)) = (pair[0].parse(), pair[1].parse()) {
                self.watchers.changed(id, status);
            }
        }
    }

    fn changed_one(&self, id: JobId, status: Status) {
        self.watchers.changed(id, status);
    }
}

/// The job store on Redis or Valkey.
#[derive(Debug)]
pub struct RedisJobStore {
    shared: Arc<Shared>,
    submits: Batch<NewJob, Submitted>,
    finishes: Batch<FinishRequest, bool>,
    releases: Batch<ReleaseRequest, bool>,
    deltas: Batch<DeltaRequest, u8>,
    fetches: Fetches,
    next_delta: AtomicU64,
    announcements: Announcements,
    heard_cells: cells::Heard,
    wake: Wake,
    reaper: Mutex<Reaper>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Drop for RedisJobStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl RedisJobStore {
    /// A store on the queue that the link leads to. Nothing is contacted yet.
    pub fn new(link: Link, options: RedisOptions) -> Self {
        let shared = Arc::new(Shared {
            link,
            options,
            origin: Ulid::from_parts(0, rand::random()).to_string(),
            watchers: Watchers::default(),
            cells: CellWatchers::default(),
            history: History::default(),
        });
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        Self {
            submits: submissions::batch(&tracker, &stop, &shared),
            finishes: deliveries::finishes(&tracker, &stop, &shared),
            releases: deliveries::releases(&tracker, &stop, &shared),
            deltas: deliveries::deltas(&tracker, &stop, &shared),
            fetches: Fetches::default(),
            next_delta: AtomicU64::default(),
            announcements: Announcements::start(&tracker, &shared, stop.clone()),
            heard_cells: cells::Heard::default(),
            wake: Wake::new(&tracker, &shared, &stop),
            reaper: Mutex::default(),
            stop,
            tracker,
            shared,
        }
    }

    /// Lets go of the server. Later calls are refused as closed, calls that wait for work wait for ever.
    pub async fn close(&self) {
        if let Err(error) = history::tell(&self.shared).await {
            tracing::debug!(%error, "what was counted last is missing in the history");
        }
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn reaper(&self) -> std::sync::MutexGuard<'_, Reaper> {
        // Nothing panics while the lock is held.
        self.reaper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds as an argument.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A value as JSON; what the store writes is always representable.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
