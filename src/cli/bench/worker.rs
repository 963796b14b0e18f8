//! A worker process of `ragq bench drain`: the real worker on a handler that does nothing but take notes.
//!
//! It says on standard output what it does, one JSON object a line, begins with the first line of its standard
//! input and ends with the end of that: also when its parent is gone.

use std::{
    collections::HashMap,
    io::Write as _,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    sync::Notify,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    args::WorkerArgs,
    redis::Server,
    usage::{monotonic, own_cpu},
};
use crate::{
    app::Queue,
    cli::{Environment, exit::Exit, serve},
    config::{Purpose, Settings, Sources},
    domain::{
        ids::JobId,
        job::{Delivery, Kind},
        spent::Spent,
    },
    queue::Finish,
    rag::Halt,
    resilience::decision::RetryPolicy,
    telemetry::metrics::{Metrics, Scope, Sets},
    worker::{Handler, KindSettings, Stop, Worker, WorkerSettings, upkeep},
};

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_millis(20);

/// What a worker process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// It has reached the store and waits for the order to begin.
    Ready,
    /// So many jobs were handed over so far.
    Handled(u64),
    /// A job was picked up, or a ping came, at this instant of the machine's clock.
    Started(Duration),
    /// It has settled all it held.
    Ended(Record),
    /// It can't go on.
    Failed(String),
}

/// What a worker process did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it began, by the machine's clock.
    pub(super) began: Duration,
    /// When the last job was handed over, by the same clock.
    pub(super) last: Duration,
    /// CPU time from the one to the end of all.
    pub(super) cpu: Duration,
    /// Every job that was handed over, as often as it was.
    pub(super) handled: Vec<JobId>,
}

pub(super) fn run(args: WorkerArgs, environment: Environment) -> ExitCode {
    let sources = Sources { purpose: Purpose::Client, ..Sources::new(environment) };
    serve::run(&sources, false, |settings, _| async move {
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        let outcome = match args.ping {
            Some(list) => echo(&settings, &list, &mut orders).await,
            None => work(&settings, args.slots, args.stamps, &mut orders).await,
        };
        if let Err(error) = &outcome {
            say(&Said::Failed(format!("{error:#}")))?;
        }
        outcome.map(|()| Exit::Done)
    })
}

fn say(what: &Said) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The handler: takes notes.
struct NoOp {
    handled: Mutex<Vec<JobId>>,
    count: AtomicU64,
    last: AtomicU64,
    stamps: bool,
}

impl Handler for NoOp {
    fn handle<'a>(&'a self, delivery: &'a Delivery, _: &'a Spent) -> BoxFuture<'a, Result<Finish, Halt>> {
        let now = monotonic();
        self.handled.lock().unwrap_or_else(PoisonError::into_inner).push(delivery.lease.job);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.fetch_max(now.as_nanos() as u64, Ordering::Relaxed);
        if self.stamps {
            // A parent that is gone ends this process soon.
            drop(say(&Said::Started(now)));
        }
        let finish = Finish::Completed { result: json!({}), document: None, turn: None };
        Box::pin(std::future::ready(Ok(finish)))
    }
}

async fn work(
    settings: &Settings,
    slots: u32,
    stamps: bool,
    orders: &mut Lines<BufReader<Stdin>>,
) -> anyhow::Result<()> {
    let queue = Queue::open(settings).await?;
    queue.store().ping().await?;
    say(&Said::Ready)?;
    if orders.next_line().await?.is_none() {
        queue.close().await;
        return Ok(());
    }
    let (began, cpu_before) = (monotonic(), own_cpu());
    let notes = Arc::new(NoOp {
        handled: Mutex::default(),
        count: AtomicU64::default(),
        last: AtomicU64::new(began.as_nanos() as u64),
        stamps,
    });
    work_until_told(settings, &queue, slots, &notes, orders).await?;
    let handled = std::mem::take(&mut *notes.handled.lock().unwrap_or_else(PoisonError::into_inner));
    let last = Duration::from_nanos(notes.last.load(Ordering::Relaxed));
    let record = Record { began, last, cpu: own_cpu().saturating_sub(cpu_before), handled };
    queue.close().await;
    say(&Said::Ended(record))
}

/// Runs what `ragq worker` runs beside its use cases.
async fn work_until_told(
    settings: &Settings,
    queue: &Queue,
    slots: u32,
    notes: &Arc<NoOp>,
    orders: &mut Lines<BufReader<Stdin>>,
) -> anyhow::Result<()> {
    let (stop, rest, wake) = (Stop::default(), CancellationToken::new(), Arc::new(Notify::new()));
    let metrics = Metrics::new(Scope::Process, Sets::default())?;
    let worker = Worker::new(queue.store(), notes.clone(), worker_settings(settings, slots), wake.clone(), metrics);
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let order = stop.clone();
    parts.spawn(async move { Ok(worker.run(order).await?) });
    let lease = Duration::from_millis(settings.queue.lease_ms);
    let keeping = upkeep::keep(queue.store(), wake, lease, rest.clone());
    parts.spawn(async move {
        keeping.await;
        Ok(())
    });
    let (mut ticks, mut told) = (tokio::time::interval(PROGRESS), 0);
    loop {
        tokio::select! {
            line = orders.next_line() => if line?.is_none() { break },
            _ = ticks.tick() => {
                let handled = notes.count.load(Ordering::Relaxed);
                if handled != told && !notes.stamps {
                    told = handled;
                    say(&Said::Handled(handled))?;
                }
            }
            Some(ended) = parts.join_next() => return ended?.and_then(|()| anyhow::bail!("the worker ended by itself")),
        }
    }
    stop.drain.cancel();
    // The worker ends first: the housekeeping has no other order yet.
    if let Some(ended) = parts.join_next().await {
        ended??;
    }
    rest.cancel();
    while let Some(ended) = parts.join_next().await {
        ended??;
    }
    Ok(())
}

fn worker_settings(settings: &Settings, slots: u32) -> WorkerSettings {
    let (worker, queue) = (&settings.worker, &settings.queue);
    let timeout = Duration::from_millis(worker.chat_timeout_ms);
    WorkerSettings {
        name: "bench".to_owned(),
        // No document is sent, but a worker waits for them too.
        kinds: HashMap::from([
            (Kind::Chat, KindSettings { slots, timeout }),
            (Kind::Ingest, KindSettings { slots: 1, timeout }),
        ]),
        heartbeat: Duration::from_millis(worker.heartbeat_ms),
        policy: RetryPolicy::new(
            Duration::from_millis(queue.backoff_base_ms),
            Duration::from_millis(queue.backoff_cap_ms),
        ),
    }
}

/// Says when something comes in a list: the quickest way from one process to another over the same Redis.
async fn echo(settings: &Settings, list: &str, orders: &mut Lines<BufReader<Stdin>>) -> anyhow::Result<()> {
    let Some(mut server) = Server::connect(settings).await? else { anyhow::bail!("REDIS_URL names no Redis") };
    say(&Said::Ready)?;
    if orders.next_line().await?.is_none() {
        return Ok(());
    }
    loop {
        tokio::select! {
            popped = server.pop(list) => {
                let now = monotonic();
                popped?;
                say(&Said::Started(now))?;
            }
            line = orders.next_line() => if line?.is_none() { return Ok(()) },
        }
    }
}
