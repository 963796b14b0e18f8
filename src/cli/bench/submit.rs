//! `ragq bench submit`: `POST /chat` as fast as the API takes it, or at a given rate.
//!
//! Closed loop: every connection sends its next request when it has its answer. Open loop (`--rate`): requests are
//! due at fixed times and latency counts from there, so that a stall is seen by all who would have come meanwhile.
//! Afterwards every accepted job is looked up, and called off unless it is to be kept.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep_until;
use ulid::Ulid;

use super::{
    args::SubmitArgs,
    exit_of,
    figures::{CpuPerJob, Latencies, LatencySummary, microseconds_each, per_second, ratio, seconds},
    fill::question,
    http::{Http, Target},
    print,
    redis::{Plain, Reading, Server},
    usage::{Processes, own_cpu},
};
use crate::{
    cli::{Caller, client::Connection, error::CliError, exit::Exit, serve::StopSignals},
    config::Settings,
    domain::ids::JobId,
};

/// Longest wait for the API to say whether it is ready.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Report {
    bench: &'static str,
    requests: u64,
    connections: u32,
    rate: Option<f64>,
    bytes: u32,
    paused: bool,
    accepted: u64,
    failed: u64,
    /// How many requests ended with which status; 0: without an answer.
    statuses: BTreeMap<u16, u64>,
    lost: u64,
    duplicated: u64,
    seconds: f64,
    per_second: f64,
    latency_ms: LatencySummary,
    cpu_us: CpuPerJob,
    batch: Option<f64>,
    against_redis: Option<Plain>,
}

pub(super) async fn run(caller: Caller, settings: &Settings, args: &SubmitArgs) -> anyhow::Result<Exit> {
    if args.paused {
        caller.need_admin_token()?;
    }
    let mut stop = StopSignals::new()?;
    let load = Load::open(&caller, settings, args).await?;
    let resume = args.paused && pause(&caller).await?;
    let outcome = tokio::select! {
        report = load.measure(&caller) => report.map(Some),
        () = stop.next() => Ok(None),
    };
    if resume {
        caller.client.admin_post::<Value>("/admin/queue/resume", &json!({ "kinds": ["chat"] })).await?;
    }
    let Some(report) = outcome? else {
        let left = load.tally().accepted.len();
        caller.terminal.say(&format!("ragq: interrupted; {left} jobs were accepted, and those not called off stay"));
        return Ok(Exit::Interrupted);
    };
    print(caller.terminal, &report)?;
    Ok(exit_of(report.lost, report.duplicated, report.failed))
}

/// Pauses questions; false if they were before.
async fn pause(caller: &Caller) -> anyhow::Result<bool> {
    let stats = caller.client.admin_get::<Value>("/admin/queue", &[]).await?.body;
    let paused = stats["paused"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "chat"));
    if !paused {
        caller.client.admin_post::<Value>("/admin/queue/pause", &json!({ "kinds": ["chat"] })).await?;
    }
    Ok(!paused)
}

struct Load {
    args: SubmitArgs,
    target: Target,
    processes: Processes,
    server: Option<Server>,
    tally: Mutex<Tally>,
}

/// What has been seen so far.
struct Tally {
    next: u64,
    latencies: Latencies,
    accepted: Vec<JobId>,
    statuses: BTreeMap<u16, u64>,
}

#[derive(Deserialize)]
struct Accepted {
    job_id: JobId,
}

impl Load {
    async fn open(caller: &Caller, settings: &Settings, args: &SubmitArgs) -> anyhow::Result<Self> {
        let target = Target::new(&Connection::of(settings.clone()))?;
        if args.against_redis && settings.store.redis_url.is_none() {
            return Err(CliError::Usage("--against-redis needs a Redis: REDIS_URL says where it is".to_owned()).into());
        }
        // Says clearly what is wrong if there is no API.
        caller.client.ready(PATIENCE).await.map_err(CliError::from)?;
        let processes = Processes::find(&args.observe.pids, target.local_port())
            .map_err(|error| CliError::Usage(format!("--pid: {error}")))?;
        let server = Server::connect(settings).await?;
        let tally = Tally { next: 0, latencies: Latencies::new()?, accepted: Vec::new(), statuses: BTreeMap::new() };
        Ok(Self { args: args.clone(), target, processes, server, tally: Mutex::new(tally) })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Nothing panics while the lock is held.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> anyhow::Result<Reading> {
        Ok(match self.server.clone() {
            Some(mut server) => server.read_at_rest().await?,
            None => Reading::default(),
        })
    }

    async fn measure(&self, caller: &Caller) -> anyhow::Result<Report> {
        let mut connections = try_join_all((0..self.args.connections).map(|_| Http::connect(&self.target))).await?;
        let redis = self.read().await?;
        let (server, client, begun) = (self.processes.cpu()?, own_cpu(), Instant::now());
        try_join_all(connections.iter_mut().map(|connection| self.send(connection, begun.into()))).await?;
        let (took, client) = (begun.elapsed(), own_cpu().saturating_sub(client));
        let server = self.processes.cpu()?.zip(server).map(|(after, before)| after.saturating_sub(before));
        let redis = self.server.as_ref().map(|_| redis);
        let after = self.read().await?;
        caller.terminal.say("looking the accepted jobs up");
        let (lost, duplicated) = self.look_up(&mut connections).await?;
        let requests = self.args.requests;
        let (accepted, statuses, latency_ms) = {
            let tally = self.tally();
            (tally.accepted.len() as u64, tally.statuses.clone(), tally.latencies.summary())
        };
        let redis_cpu = redis.as_ref().and_then(|before| microseconds_each(after.cpu_since(before), requests));
        let batch = redis.as_ref().and_then(|before| ratio(accepted as f64, after.scripts_since(before) as f64));
        let rate = per_second(accepted, took);
        let against_redis = match (&redis, self.server.clone()) {
            (Some(before), Some(mut server)) if self.args.against_redis => {
                let bytes = after.received_since(before) / requests;
                let depth = batch.unwrap_or(1.0).round().max(1.0) as usize;
                let queue = format!("{{ragq-bench-{}}}", Ulid::from_parts(0, rand::random()));
                let plain = server.plain(&queue, requests, bytes as usize, depth).await?;
                Some(plain.compared(rate, redis_cpu.unwrap_or_default()))
            }
            _ => None,
        };
        Ok(Report {
            bench: "submit",
            requests,
            connections: self.args.connections,
            rate: self.args.rate,
            bytes: self.args.bytes,
            paused: self.args.paused,
            accepted,
            failed: requests - accepted,
            statuses,
            lost,
            duplicated,
            seconds: seconds(took),
            per_second: rate,
            latency_ms,
            cpu_us: CpuPerJob {
                client: microseconds_each(client, requests).unwrap_or_default(),
                server: server.and_then(|used| microseconds_each(used, requests)),
                redis: redis_cpu,
            },
            batch,
            against_redis,
        })
    }

    /// One connection's part: takes the next request until there are no more.
    async fn send(&self, connection: &mut Http, begun: tokio::time::Instant) -> anyhow::Result<()> {
        let body = Bytes::from(json!({ "query": question(self.args.bytes) }).to_string());
        loop {
            let number = {
                let mut tally = self.tally();
                tally.next += 1;
                tally.next - 1
            };
            if number >= self.args.requests {
                return Ok(());
            }
            let mut due = tokio::time::Instant::now();
            if let Some(rate) = self.args.rate {
                due = begun + Duration::from_secs_f64(number as f64 / rate);
                sleep_until(due).await;
            }
            let mut request = self.target.request(Method::POST, "/chat", body.clone())?;
            if self.args.idempotency {
                let key = Ulid::from_parts(number, rand::random()).to_string();
                request.headers_mut().insert("idempotency-key", HeaderValue::from_str(&key)?);
            }
            let answer = connection.send(request).await;
            let mut tally = self.tally();
            let status = answer.as_ref().map_or(0, |(status, _)| status.as_u16());
            *tally.statuses.entry(status).or_default() += 1;
            if let Ok((StatusCode::ACCEPTED, body)) = answer {
                tally.latencies.record(due.elapsed());
                tally.accepted.push(serde_json::from_slice::<Accepted>(&body)?.job_id);
            }
        }
    }

    /// How many accepted jobs the API does not know, and how many answers named a job that another one had named.
    async fn look_up(&self, connections: &mut [Http]) -> anyhow::Result<(u64, u64)> {
        let accepted = self.tally().accepted.clone();
        let jobs: HashSet<JobId> = accepted.iter().copied().collect();
        let left = Mutex::new(jobs.iter());
        let lost = AtomicU64::default();
        try_join_all(connections.iter_mut().map(async |connection| {
            while let Some(job) = next(&left) {
                let request = if self.args.keep {
                    self.target.request(Method::GET, &format!("/job-status?job_id={job}"), Bytes::new())
                } else {
                    self.target.request(Method::DELETE, &format!("/jobs/{job}"), Bytes::new())
                };
                let (status, _) = connection.send(request?).await?;
                match status {
                    StatusCode::NOT_FOUND => drop(lost.fetch_add(1, Ordering::Relaxed)),
                    status if status.is_success() => {}
                    status => anyhow::bail!("the API answered {status} when asked for an accepted job"),
                }
            }
            Ok(())
        }))
        .await?;
        Ok((lost.into_inner(), (accepted.len() - jobs.len()) as u64))
    }
}

fn next<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    left.lock().unwrap_or_else(PoisonError::into_inner).next()
}
