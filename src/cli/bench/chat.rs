//! `ragq bench chat`: questions with their answers, as a caller lives through them.
//!
//! Closed loop: every asker waits for the answer by long polls before it asks again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::StatusCode;
use serde::Serialize;
use ulid::Ulid;

use super::{
    args::ChatArgs,
    exit_of,
    figures::{CpuPerJob, Latencies, LatencySummary, microseconds_each, per_second, seconds},
    http::Target,
    print,
    redis::Server,
    usage::{Processes, own_cpu},
};
use crate::{
    cli::{
        Caller,
        client::{
            Client, ClientError, Connection,
            wire::{Job, Question},
        },
        error::CliError,
        exit::Exit,
        serve::StopSignals,
    },
    config::Settings,
    domain::job::Status,
};

/// How long one poll lets the API wait.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Longest wait for the API to say whether it is ready.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Report {
    bench: &'static str,
    questions: u64,
    connections: u32,
    answered: u64,
    failed: u64,
    /// Why questions failed: the code of their job, `cancelled`, or what befell the request.
    failures: BTreeMap<String, u64>,
    lost: u64,
    duplicated: u64,
    /// How many jobs were handed to a worker more than once.
    redelivered: u64,
    seconds: f64,
    per_second: f64,
    /// From the question to the answer.
    latency_ms: LatencySummary,
    /// From the question to its being accepted.
    accepted_ms: LatencySummary,
    cpu_us: CpuPerJob,
}

struct Tally {
    next: u64,
    jobs: HashSet<String>,
    answered: u64,
    failures: BTreeMap<String, u64>,
    lost: u64,
    duplicated: u64,
    redelivered: u64,
    latencies: Latencies,
    acceptances: Latencies,
}

pub(super) async fn run(caller: Caller, settings: &Settings, args: &ChatArgs) -> anyhow::Result<Exit> {
    let mut stop = StopSignals::new()?;
    caller.client.ready(PATIENCE).await.map_err(CliError::from)?;
    let port = Target::new(&Connection::of(settings.clone())).ok().and_then(|target| target.local_port());
    let processes =
        Processes::find(&args.observe.pids, port).map_err(|error| CliError::Usage(format!("--pid: {error}")))?;
    let tally = Mutex::new(Tally {
        next: 0,
        jobs: HashSet::new(),
        answered: 0,
        failures: BTreeMap::new(),
        lost: 0,
        duplicated: 0,
        redelivered: 0,
        latencies: Latencies::new()?,
        acceptances: Latencies::new()?,
    });
    let mut server = Server::connect(settings).await?;
    let redis = match &mut server {
        Some(server) => Some(server.read_at_rest().await?),
        None => None,
    };
    let (before, client, begun) = (processes.cpu()?, own_cpu(), Instant::now());
    let askers = (0..args.connections).map(|_| ask(&caller.client, args, &tally));
    tokio::select! {
        _ = join_all(askers) => {}
        () = stop.next() => {
            caller.terminal.say("ragq: interrupted; what was asked goes on without you");
            return Ok(Exit::Interrupted);
        }
    }
    let (took, client) = (begun.elapsed(), own_cpu().saturating_sub(client));
    let used = processes.cpu()?.zip(before).map(|(after, before)| after.saturating_sub(before));
    let redis = match (&mut server, redis) {
        (Some(server), Some(before)) => Some(server.read().await?.cpu_since(&before)),
        _ => None,
    };
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let report = Report {
        bench: "chat",
        questions: args.questions,
        connections: args.connections,
        answered: tally.answered,
        failed: tally.failures.values().sum(),
        failures: tally.failures,
        lost: tally.lost,
        duplicated: tally.duplicated,
        redelivered: tally.redelivered,
        seconds: seconds(took),
        per_second: per_second(tally.answered, took),
        latency_ms: tally.latencies.summary(),
        accepted_ms: tally.acceptances.summary(),
        cpu_us: CpuPerJob {
            client: microseconds_each(client, args.questions).unwrap_or_default(),
            server: used.and_then(|used| microseconds_each(used, args.questions)),
            redis: redis.and_then(|used| microseconds_each(used, args.questions)),
        },
    };
    print(caller.terminal, &report)?;
    Ok(exit_of(report.lost, report.duplicated, report.failed))
}

/// One asker: takes the next question until there are no more.
async fn ask(client: &Client, args: &ChatArgs, tally: &Mutex<Tally>) {
    let question = Question { query: args.query.clone(), ..Question::default() };
    loop {
        {
            let mut tally = lock(tally);
            if tally.next >= args.questions {
                return;
            }
            tally.next += 1;
        }
        let begun = Instant::now();
        let key = Ulid::from_parts(0, rand::random()).to_string();
        let outcome = match client.ask(&question, &key).await {
            Ok(accepted) => {
                let id = accepted.body.job_id;
                {
                    let mut tally = lock(tally);
                    tally.acceptances.record(begun.elapsed());
                    tally.duplicated += u64::from(!tally.jobs.insert(id.clone()));
                }
                answer(client, &id).await
            }
            Err(error) => Err(error),
        };
        lock(tally).note(outcome, begun.elapsed());
    }
}

/// The job once it is final.
async fn answer(client: &Client, id: &str) -> Result<Job, ClientError> {
    loop {
        let job = client.job(id, LONG_POLL).await?.body;
        if job.is_final() {
            return Ok(job);
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // Nothing panics while the lock is held.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    fn note(&mut self, outcome: Result<Job, ClientError>, latency: Duration) {
        let failure = match outcome {
            Ok(job) => {
                self.redelivered += u64::from(job.deliveries > 1);
                if job.is(Status::Completed) {
                    self.answered += 1;
                    self.latencies.record(latency);
                    return;
                }
                job.error.map_or(job.status, |error| error.code)
            }
            Err(ClientError::Refused(problem)) => {
                self.lost += u64::from(problem.status == StatusCode::NOT_FOUND);
                if problem.code.is_empty() { problem.status.as_u16().to_string() } else { problem.code }
            }
            Err(ClientError::Unreachable { .. }) => "unreachable".to_owned(),
            Err(ClientError::Interrupted { .. }) => "interrupted".to_owned(),
            Err(ClientError::Garbled { .. }) => "garbled".to_owned(),
            Err(ClientError::Setup(_)) => "setup".to_owned(),
        };
        *self.failures.entry(failure).or_default() += 1;
    }
}
