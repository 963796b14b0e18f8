//! Waits for the jobs of submitted documents to end, a few at a time in the order they were submitted.
//!
//! Each wait is a long poll, so that a document that takes its time costs few requests. One that is still
//! not done after it (a retry may be minutes away) goes to the back of the line.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, channel::mpsc::UnboundedReceiver, future::join_all};
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{FileFailure, Pending, Progress};
use crate::{
    cli::client::{
        Client, ClientError,
        patience::Patience,
        wire::{Job, JobError},
    },
    domain::job::Status,
};

/// Jobs waited for at a time: each holds a connection.
const AT_A_TIME: usize = 4;
/// How long one poll lets the API wait.
const LONG_POLL: Duration = Duration::from_secs(10);
/// Shortest time between two polls of one job, should the API not wait.
const SHORTEST_POLL: Duration = Duration::from_millis(250);
/// How long the API may be away.
const AWAY: Duration = Duration::from_mins(2);

/// What came of the jobs.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) ingested: usize,
    pub(super) unchanged: usize,
    pub(super) pending: usize,
    pub(super) failures: Vec<FileFailure>,
    pub(super) error: Option<ClientError>,
}

/// Waits for all jobs that come; with `no_wait` only counts them.
pub(super) async fn run(
    client: &Client,
    mut accepted: UnboundedReceiver<Pending>,
    no_wait: bool,
    progress: &Progress,
) -> Settled {
    if no_wait {
        let mut pending = 0;
        while accepted.next().await.is_some() {
            pending += 1;
        }
        return Settled { pending, ..Settled::default() };
    }
    let line = Line {
        client,
        progress,
        coming: tokio::sync::Mutex::new(accepted),
        again: Mutex::default(),
        settled: Mutex::default(),
    };
    join_all((0..AT_A_TIME).map(|_| line.serve())).await;
    line.settled.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The jobs waited for.
struct Line<'a> {
    client: &'a Client,
    progress: &'a Progress,
    coming: tokio::sync::Mutex<UnboundedReceiver<Pending>>,
    again: Mutex<VecDeque<Pending>>,
    settled: Mutex<Settled>,
}

impl Line<'_> {
    async fn serve(&self) {
        while let Some(pending) = self.next().await {
            let begun = Instant::now();
            match self.ask(&pending).await {
                Ok(Some(job)) if job.is_final() => self.settle(pending, &job),
                Ok(Some(_)) => {
                    locked(&self.again).push_back(pending);
                    sleep(SHORTEST_POLL.saturating_sub(begun.elapsed())).await;
                }
                Ok(None) => self.fail(FileFailure {
                    job_id: Some(pending.job_id),
                    ..FileFailure::new(pending.name, "its job is gone")
                }),
                Err(error) => {
                    let mut settled = locked(&self.settled);
                    settled.pending += 1;
                    settled.error.get_or_insert(error);
                }
            }
        }
    }

    /// The next job: new ones first, then those seen unfinished. After an error nothing more is asked for.
    async fn next(&self) -> Option<Pending> {
        let mut coming = self.coming.lock().await;
        loop {
            let next = match coming.try_recv() {
                Ok(pending) => Some(pending),
                Err(_) => locked(&self.again).pop_front(),
            };
            let next = match next {
                Some(next) => Some(next),
                // Nothing to do now: wait for more, or for the end.
                None => coming.next().await,
            };
            if locked(&self.settled).error.is_none() {
                return next;
            }
            next.as_ref()?;
            locked(&self.settled).pending += 1;
        }
    }

    async fn ask(&self, pending: &Pending) -> Result<Option<Job>, ClientError> {
        let tell = |why: &str, wait: Duration| self.progress.waiting(why, wait);
        let mut patience = Patience::new(AWAY, &tell).outlasting_restarts(true);
        loop {
            match self.client.job(&pending.job_id, LONG_POLL).await {
                Ok(reply) => return Ok(Some(reply.body)),
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(None),
                Err(error) => patience.endure(error).await?,
            }
        }
    }

    fn settle(&self, pending: Pending, job: &Job) {
        if job.is(Status::Completed) {
            let unchanged = job.result.as_ref().and_then(|result| result.get("unchanged")).and_then(Value::as_bool);
            let mut settled = locked(&self.settled);
            if unchanged == Some(true) {
                settled.unchanged += 1;
            } else {
                settled.ingested += 1;
            }
            drop(settled);
            self.progress.settled();
            return;
        }
        let (reason, code) = match &job.error {
            Some(JobError { code, message, .. }) => (message.clone(), Some(code.clone())),
            None => (format!("its job is {}", job.status), None),
        };
        self.fail(FileFailure { name: pending.name, reason, code, job_id: Some(pending.job_id) });
    }

    fn fail(&self, failure: FileFailure) {
        locked(&self.settled).failures.push(failure);
        self.progress.settled();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held; what is in it would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
