//! Start, supervise, drain: the parts of a process from its first request to its last.
//!
//! Any part that ends before it was told to takes the process down with an error: a process that is half
//! alive would look healthy and do nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{JoinError, JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::serve::serve,
    app::App,
    telemetry::metrics::Metrics,
    worker::{Stop, WorkerError, upkeep},
};

/// How long settlements may go on once nothing is running any more.
const LAST_SECONDS: Duration = Duration::from_secs(5);

/// How long requests may: an upload takes its time.
const LAST_REQUESTS: Duration = Duration::from_secs(20);

/// How long what operators ordered may: less, so that what came of it can be written down and said.
const LAST_DEEDS: Duration = Duration::from_secs(15);

/// How often histograms are brought up to date; a scrape does it too.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// A process that could not start, or ended though nobody told it to.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The listener is unusable.
    #[error("listening failed")]
    Listen(#[source] std::io::Error),
    /// The worker ended.
    #[error("the worker ended")]
    Worker(#[source] WorkerError),
    /// A part returned without being told to.
    #[error("a part of ragq ended by itself: {0}")]
    Ended(&'static str),
    /// The worker did not end though its grace was over.
    #[error("the worker did not settle what it held in time")]
    Overran,
    /// A part panicked.
    #[error("a part of ragq panicked")]
    Panicked(#[from] JoinError),
}

/// The part that holds jobs.
const WORKER: &str = "worker";

type Part = Result<&'static str, LifecycleError>;

/// A running process: housekeeping, and API with the replays, worker or both.
#[derive(Debug)]
pub struct Process {
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    leaving: CancellationToken,
    supervisor: JoinHandle<Result<(), LifecycleError>>,
}

impl Process {
    /// Starts the parts of `app` that its role needs, what is served on `listener`.
    pub fn start(app: App, listener: Option<TcpListener>) -> Result<Self, LifecycleError> {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose().map_err(LifecycleError::Listen)?;
        let leaving = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the root of all tasks; `ended` and `drain` join it")]
        let supervisor = tokio::spawn(supervise(app, listener, leaving.clone()));
        Ok(Self { address, leaving, supervisor })
    }

    /// Resolves when the process has ended, which without a drain it only does on an error.
    pub async fn ended(&mut self) -> Result<(), LifecycleError> {
        (&mut self.supervisor).await?
    }

    /// Orders the process to finish what runs within the grace period, hand back the rest, and end.
    pub fn begin_drain(&self) {
        self.leaving.cancel();
    }

    /// Gives that order and waits for the end.
    pub async fn drain(&mut self) -> Result<(), LifecycleError> {
        self.begin_drain();
        self.ended().await
    }
}

/// The stages of a shutdown, each told to the parts it concerns.
#[derive(Default)]
struct Stages {
    /// The worker's: it takes no more jobs from the order on, whatever else goes on.
    worker: Stop,
    /// Callers are sent elsewhere.
    callers: CancellationToken,
    /// Everything else ends.
    rest: CancellationToken,
}

async fn supervise(app: App, listener: Option<TcpListener>, leaving: CancellationToken) -> Result<(), LifecycleError> {
    let stages = Stages { worker: Stop { drain: leaving.clone(), ..Stop::default() }, ..Stages::default() };
    let mut parts: JoinSet<Part> = JoinSet::new();
    let wake = Arc::new(Notify::new());
    let works = app.role().works();
    if works {
        let worker = app.worker(wake.clone());
        let stop = stages.worker.clone();
        parts.spawn(async move { worker.run(stop).await.map(|()| WORKER).map_err(LifecycleError::Worker) });
        let sweeping = upkeep::sweep(app.store.clone(), app.index.clone(), stages.rest.clone());
        parts.spawn(async move {
            sweeping.await;
            Ok("sweeping")
        });
    }
    if app.role().serves() {
        let replayer = app.replayer(wake.clone());
        // A replay loses nothing by being handed back: another process goes on with it.
        let stop = Stop { drain: stages.worker.drain.clone(), hand_back: stages.worker.drain.clone() };
        parts.spawn(async move { replayer.run(stop).await.map(|()| "replays").map_err(LifecycleError::Worker) });
    }
    if let Some(listener) = listener {
        let serving = serve(
            listener,
            app.router(leaving.clone(), stages.callers.clone()),
            app.head_timeout(),
            stages.rest.clone(),
        );
        let (deeds, rest) = (app.deeds(), stages.rest.clone());
        parts.spawn(async move {
            deeds.outlive(serving, rest, LAST_DEEDS).await;
            Ok("api")
        });
    }
    let keeping = upkeep::keep(app.store.clone(), wake, app.lease(), stages.rest.clone());
    parts.spawn(async move {
        keeping.await;
        Ok("housekeeping")
    });

    let tidying = tidy(app.metrics().clone(), stages.rest.clone());
    parts.spawn(async move {
        tidying.await;
        Ok("metrics")
    });

    let mut ending = Ending { outcome: Ok(()), worker: !works };
    tokio::select! {
        biased;
        () = leaving.cancelled() => {}
        Some(ended) = parts.join_next() => {
            let name = ending.note(ended);
            if let (Some(name), Ok(()), false) = (name, &ending.outcome, leaving.is_cancelled()) {
                ending.outcome = Err(LifecycleError::Ended(name));
            }
        }
    }
    let outcome = end(&app, stages, parts, ending).await;
    app.close().await;
    outcome
}

/// Keeps what metrics hold from piling up until stopped.
async fn tidy(metrics: Metrics, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
        metrics.tidy();
    }
}

/// Ends all parts in order: no new jobs and not ready any more, callers sent elsewhere once that could be noticed, then
/// the rest of the grace period, then handing back, then the rest.
async fn end(app: &App, stages: Stages, mut parts: JoinSet<Part>, mut ending: Ending) -> Result<(), LifecycleError> {
    stages.worker.drain.cancel();
    let callers = async {
        tokio::time::sleep(app.drain_delay()).await;
        stages.callers.cancel();
    };
    let (worker, ()) = tokio::join!(timeout(app.grace(), ending.join(&mut parts, |ending| ending.worker)), callers);
    if worker.is_err() {
        tracing::warn!("the grace period is over, handing back what still runs");
    }
    stages.worker.hand_back.cancel();
    stages.rest.cancel();
    let last = if app.role().serves() { LAST_REQUESTS } else { LAST_SECONDS };
    if timeout(last, ending.join(&mut parts, |_| false)).await.is_err() {
        tracing::warn!("not everything ended in time");
        parts.shutdown().await;
    }
    match ending {
        Ending { outcome: Ok(()), worker: false } => Err(LifecycleError::Overran),
        Ending { outcome, .. } => outcome,
    }
}

/// What has ended so far, and the first error met.
struct Ending {
    outcome: Result<(), LifecycleError>,
    worker: bool,
}

impl Ending {
    /// Waits for one part after the other until `enough`, or all have ended.
    async fn join(&mut self, parts: &mut JoinSet<Part>, enough: impl Fn(&Self) -> bool) {
        while !enough(self)
            && let Some(part) = parts.join_next().await
        {
            self.note(part);
        }
    }

    /// Keeps the first error; says which part ended well.
    fn note(&mut self, part: Result<Part, JoinError>) -> Option<&'static str> {
        let error = match part {
            Ok(Ok(name)) => {
                self.worker |= name == WORKER;
                return Some(name);
            }
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        };
        if self.outcome.is_ok() {
            self.outcome = Err(error);
        }
        None
    }
}
