//! `ragq bench drain`: jobs that do nothing, through the job store and the worker runtime.
//!
//! The queue is one of its own and is removed at the end, however that comes. The parent submits and then lets go
//! of the store; the workers are processes of their own, and what they took notes of says whether every job was
//! handed over once.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde::Serialize;
use tempfile::TempDir;
use ulid::Ulid;

use super::{
    args::DrainArgs,
    crew::Crew,
    exit_of,
    figures::{Latencies, LatencySummary, microseconds_each, per_second, seconds},
    fill::fill,
    pickup::{self, Pickup},
    print,
    redis::{Plain, Reading, Server},
    usage::own_cpu,
    worker::{Record, Said},
};
use crate::{
    app::Queue,
    cli::{error::CliError, exit::Exit, serve::StopSignals, terminal::Terminal},
    config::Settings,
    domain::{ids::JobId, job::Status},
};

#[derive(Serialize)]
struct Report {
    bench: &'static str,
    store: &'static str,
    jobs: u64,
    waiting: u64,
    workers: u32,
    slots: u32,
    bytes: u32,
    handled: u64,
    lost: u64,
    duplicated: u64,
    failed: u64,
    seconds: f64,
    per_second: f64,
    cpu_us: Cpu,
    submit: Submits,
    redis_bytes_per_waiting_job: Option<u64>,
    against_redis: Option<Plain>,
    pickup: Option<Pickup>,
}

/// CPU microseconds a job; of Redis from the submit to the end of the job, and its parts.
#[derive(Serialize)]
struct Cpu {
    client: Option<f64>,
    worker: Option<f64>,
    redis: Option<f64>,
    redis_submit: Option<f64>,
    redis_work: Option<f64>,
}

#[derive(Serialize)]
struct Submits {
    seconds: f64,
    per_second: f64,
    batch: Option<f64>,
    latency_ms: LatencySummary,
}

pub(super) async fn run(settings: Settings, args: DrainArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    if let Some(flag) = needs_redis(&args).filter(|_| settings.store.redis_url.is_none()) {
        return Err(CliError::Usage(format!("{flag} needs a Redis: REDIS_URL says where it is")).into());
    }
    let mut stop = StopSignals::new()?;
    let mut bench = Bench::open(settings, args, terminal).await?;
    let outcome = tokio::select! {
        report = bench.measure() => report.map(Some),
        () = stop.next() => Ok(None),
    };
    bench.tidy_up().await?;
    let Some(report) = outcome? else {
        terminal.say("ragq: interrupted, the queue of the measurement is removed");
        return Ok(Exit::Interrupted);
    };
    print(terminal, &report)?;
    Ok(exit_of(report.lost, report.duplicated, report.failed))
}

/// What can't be measured on an embedded store, which has one process.
fn needs_redis(args: &DrainArgs) -> Option<&'static str> {
    [(args.workers > 1, "--workers"), (args.pickup > 0, "--pickup"), (args.against_redis, "--against-redis")]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
}

struct Bench {
    settings: Settings,
    args: DrainArgs,
    terminal: Terminal,
    server: Option<Server>,
    /// Of the embedded store; gone with this.
    _folder: TempDir,
}

/// What the submits came to.
struct Filled {
    waiting: Vec<JobId>,
    jobs: Vec<JobId>,
    latencies: Latencies,
    took: Duration,
    cpu: Duration,
}

/// What Redis said before anything, before and after the submits that count, and at the end.
#[derive(Default)]
struct Readings {
    empty: Reading,
    filled: Reading,
    submitted: Reading,
    ended: Reading,
}

impl Bench {
    async fn open(mut settings: Settings, args: DrainArgs, terminal: Terminal) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ragq-bench-").tempdir()?;
        folder.path().clone_into(&mut settings.store.data_dir);
        settings.queue.name = format!("{{ragq-bench-{}}}", Ulid::from_parts(0, rand::random()));
        settings.queue.max_jobs = u64::from(u32::MAX);
        settings.queue.max_bytes = u64::from(u32::MAX) * 1024;
        let server = Server::connect(&settings).await?;
        Ok(Self { settings, args, terminal, server, _folder: folder })
    }

    async fn read(&mut self) -> anyhow::Result<Reading> {
        Ok(match &mut self.server {
            Some(server) => server.read_at_rest().await?,
            None => Reading::default(),
        })
    }

    async fn measure(&mut self) -> anyhow::Result<Report> {
        let mut readings = Readings::default();
        let filled = self.fill(&mut readings).await?;
        self.terminal.say(&format!("{} jobs submitted, {} workers begin", self.args.jobs, self.args.workers));
        let records = self.drain().await?;
        readings.ended = self.read().await?;
        let counted = self.count(&filled, &records).await?;
        let plain = self.plain(&readings, &filled, &counted).await?;
        let pickup = match &mut self.server {
            Some(server) if self.args.pickup > 0 => {
                self.terminal.say("jobs submitted one by one");
                // What still waits would be picked up in between.
                server.remove(&self.settings.queue.name).await?;
                let queue = Queue::open(&self.settings).await?;
                let what = (self.args.pickup, self.args.bytes, Duration::from_secs(self.args.idle));
                let pickup = pickup::measure(&self.settings, &queue.store(), server, what).await;
                queue.close().await;
                Some(pickup?)
            }
            Some(_) | None => None,
        };
        Ok(self.report(&readings, &filled, &records, &counted, (plain, pickup)))
    }

    /// Submits what is to wait, then what is measured.
    async fn fill(&mut self, readings: &mut Readings) -> anyhow::Result<Filled> {
        let queue = Queue::open(&self.settings).await?;
        for warning in queue.warnings() {
            self.terminal.say(&format!("ragq: {warning}"));
        }
        let (store, args, terminal) = (queue.store(), self.args.clone(), self.terminal);
        store.ping().await?;
        readings.empty = self.read().await?;
        let mut warm_up = Latencies::new()?;
        let waiting = fill(&store, args.waiting, args.bytes, args.submitters, &mut warm_up, terminal).await?;
        readings.filled = self.read().await?;
        let (begun, cpu, mut latencies) = (Instant::now(), own_cpu(), Latencies::new()?);
        let jobs = fill(&store, args.jobs, args.bytes, args.submitters, &mut latencies, terminal).await?;
        let (took, cpu) = (begun.elapsed(), own_cpu().saturating_sub(cpu));
        readings.submitted = self.read().await?;
        drop(store);
        queue.close().await;
        Ok(Filled { waiting, jobs, latencies, took, cpu })
    }

    /// Lets the workers work until as many jobs were handed over as are measured.
    async fn drain(&mut self) -> anyhow::Result<Vec<Record>> {
        let slots = format!("--slots={}", self.args.slots);
        let mut crew = Crew::start(&self.settings, self.args.workers, &[slots]).await?;
        crew.begin().await?;
        let mut handled = vec![0; self.args.workers as usize];
        while handled.iter().sum::<u64>() < self.args.jobs {
            match crew.next().await? {
                Some((worker, Said::Handled(count))) => handled[worker] = count,
                Some((_, said)) => anyhow::bail!("a worker process said {said:?}"),
                None => break,
            }
        }
        crew.end().await
    }

    /// How many jobs were handed over, more than once, never though they are gone from the queue.
    async fn count(&mut self, filled: &Filled, records: &[Record]) -> anyhow::Result<Counted> {
        let queue = Queue::open(&self.settings).await?;
        let stats = queue.store().stats().await;
        queue.close().await;
        let stats = stats?;
        let in_state = |status| stats.counts.get(&status).copied().unwrap_or_default();
        let submitted: HashSet<&JobId> = filled.waiting.iter().chain(&filled.jobs).collect();
        let deliveries: Vec<&JobId> = records.iter().flat_map(|record| &record.handled).collect();
        let distinct: HashSet<&JobId> = deliveries.iter().copied().filter(|id| submitted.contains(id)).collect();
        let handled = distinct.len() as u64;
        let accounted = handled + in_state(Status::Queued) + in_state(Status::Scheduled);
        Ok(Counted {
            handled,
            duplicated: deliveries.len() as u64 - handled,
            lost: (submitted.len() as u64).saturating_sub(accounted),
            failed: handled.saturating_sub(in_state(Status::Completed)),
        })
    }

    async fn plain(
        &mut self,
        readings: &Readings,
        filled: &Filled,
        counted: &Counted,
    ) -> anyhow::Result<Option<Plain>> {
        let Some(server) = self.server.as_mut().filter(|_| self.args.against_redis) else { return Ok(None) };
        let jobs = self.args.jobs;
        let received = readings.submitted.received_since(&readings.filled) / jobs
            + readings.ended.received_since(&readings.submitted) / counted.handled.max(1);
        let depth = batch(readings, jobs).unwrap_or(1.0).round().max(1.0) as usize;
        let plain = server.plain(&self.settings.queue.name, jobs, received as usize, depth).await?;
        Ok(Some(plain.compared(per_second(jobs, filled.took), redis_cpu(readings, jobs, counted).unwrap_or_default())))
    }

    fn report(
        &self,
        readings: &Readings,
        filled: &Filled,
        records: &[Record],
        counted: &Counted,
        (against_redis, pickup): (Option<Plain>, Option<Pickup>),
    ) -> Report {
        let args = &self.args;
        let began = records.iter().map(|record| record.began).min().unwrap_or_default();
        let last = records.iter().map(|record| record.last).max().unwrap_or_default();
        let took = last.saturating_sub(began);
        let worked: Duration = records.iter().map(|record| record.cpu).sum();
        let on_redis = self.server.as_ref();
        let work_cpu = readings.ended.cpu_since(&readings.submitted);
        let submit_cpu = readings.submitted.cpu_since(&readings.filled);
        let memory = readings.submitted.memory_since(&readings.empty) / (args.waiting + args.jobs);
        Report {
            bench: "drain",
            store: if on_redis.is_some() { "redis" } else { "sqlite" },
            jobs: args.jobs,
            waiting: args.waiting,
            workers: args.workers,
            slots: args.slots,
            bytes: args.bytes,
            handled: counted.handled,
            lost: counted.lost,
            duplicated: counted.duplicated,
            failed: counted.failed,
            seconds: seconds(took),
            per_second: per_second(counted.handled, took),
            cpu_us: Cpu {
                client: microseconds_each(filled.cpu, args.jobs),
                worker: microseconds_each(worked, counted.handled),
                redis: on_redis.and_then(|_| redis_cpu(readings, args.jobs, counted)),
                redis_submit: on_redis.and_then(|_| microseconds_each(submit_cpu, args.jobs)),
                redis_work: on_redis.and_then(|_| microseconds_each(work_cpu, counted.handled)),
            },
            submit: Submits {
                seconds: seconds(filled.took),
                per_second: per_second(args.jobs, filled.took),
                batch: on_redis.and_then(|_| batch(readings, args.jobs)),
                latency_ms: filled.latencies.summary(),
            },
            redis_bytes_per_waiting_job: on_redis.map(|_| memory),
            against_redis,
            pickup,
        }
    }

    /// Removes the queue; the folder goes by itself.
    async fn tidy_up(&mut self) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server {
            server.remove(&self.settings.queue.name).await?;
        }
        Ok(())
    }
}

struct Counted {
    handled: u64,
    lost: u64,
    duplicated: u64,
    failed: u64,
}

fn redis_cpu(readings: &Readings, jobs: u64, counted: &Counted) -> Option<f64> {
    let submit = microseconds_each(readings.submitted.cpu_since(&readings.filled), jobs)?;
    let work = microseconds_each(readings.ended.cpu_since(&readings.submitted), counted.handled)?;
    Some(((submit + work) * 100.0).round() / 100.0)
}

/// How many jobs went with one call of a script.
fn batch(readings: &Readings, jobs: u64) -> Option<f64> {
    let calls = readings.submitted.scripts_since(&readings.filled);
    super::figures::ratio(jobs as f64, calls as f64)
}
