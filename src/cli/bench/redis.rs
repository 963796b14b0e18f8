//! The Redis under measurement: what it says of itself, the raw commands to compare with, tidying up.
//!
//! Its CPU time is that of all its threads without the children that rewrite its files, since those run whenever
//! they are due and not for a certain job.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{RedisResult, aio::MultiplexedConnection};
use serde::Serialize;

use super::figures::{microseconds_each, per_second, ratio};
use crate::{
    app::{AppError, redis_connection},
    config::Settings,
};

/// Commands that ragq sends by themselves; every other one is called by a script.
const SENT: [&str; 8] = ["auth", "blpop", "evalsha", "ping", "script|load", "ssubscribe", "subscribe", "unsubscribe"];

/// How long work of the server's own is waited for, which would blur what is measured.
const LONGEST_WORK: Duration = Duration::from_mins(2);

/// A connection to the server.
#[derive(Clone)]
pub(super) struct Server(MultiplexedConnection);

/// What the server says at one moment.
#[derive(Debug, Default)]
pub(super) struct Reading {
    at: Option<Instant>,
    fields: HashMap<String, String>,
}

impl Server {
    /// The server that the settings name, if they name one.
    pub(super) async fn connect(settings: &Settings) -> Result<Option<Self>, AppError> {
        Ok(redis_connection(settings).await?.map(Self))
    }

    pub(super) async fn read(&mut self) -> RedisResult<Reading> {
        let text: String = redis::cmd("INFO").arg("everything").query_async(&mut self.0).await?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Ok(Reading { at: Some(Instant::now()), fields })
    }

    /// The same once it neither rewrites its files nor frees what was removed.
    pub(super) async fn read_at_rest(&mut self) -> RedisResult<Reading> {
        let begun = Instant::now();
        loop {
            let reading = self.read().await?;
            let under_way = ["aof_rewrite_in_progress", "rdb_bgsave_in_progress", "lazyfree_pending_objects"];
            if under_way.iter().all(|work| reading.number(work) == 0.0) || begun.elapsed() > LONGEST_WORK {
                return Ok(reading);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Appends to a list that nobody reads; returns once that is done.
    pub(super) async fn push(&mut self, key: &str) -> RedisResult<()> {
        redis::cmd("RPUSH").arg(key).arg(1).query_async(&mut self.0).await
    }

    /// Waits until there is something in the list, and takes it.
    pub(super) async fn pop(&mut self, key: &str) -> RedisResult<()> {
        redis::cmd("BLPOP").arg(key).arg(0).query_async(&mut self.0).await
    }

    /// Sends so many values of this size as plain commands, so many at a time.
    pub(super) async fn plain(&mut self, queue: &str, count: u64, bytes: usize, depth: usize) -> RedisResult<Plain> {
        let (key, value) = (format!("{queue}:plain"), vec![b'x'; bytes]);
        let before = self.read_at_rest().await?;
        let begun = Instant::now();
        let mut left = count;
        while left > 0 {
            let together = left.min(depth as u64);
            let mut pipeline = redis::Pipeline::with_capacity(together as usize);
            for _ in 0..together {
                pipeline.cmd("RPUSH").arg(&key).arg(&value).ignore();
            }
            pipeline.exec_async(&mut self.0).await?;
            left -= together;
        }
        let took = begun.elapsed();
        let used = self.read().await?.cpu_since(&before);
        redis::cmd("UNLINK").arg(&key).query_async::<()>(&mut self.0).await?;
        Ok(Plain {
            bytes,
            pipelined: depth,
            per_second: per_second(count, took),
            redis_cpu_us: microseconds_each(used, count).unwrap_or_default(),
            rate_ratio: None,
            cpu_ratio: None,
        })
    }

    /// Removes all keys of a queue, also what commands still under way write meanwhile.
    pub(super) async fn remove(&mut self, queue: &str) -> RedisResult<()> {
        while self.remove_once(queue).await? > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn remove_once(&mut self, queue: &str) -> RedisResult<usize> {
        let (mut cursor, mut removed) = (0_u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{queue}:*")).arg("COUNT").arg(1_000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut self.0).await?;
            if !keys.is_empty() {
                removed += redis::cmd("UNLINK").arg(&keys).query_async::<usize>(&mut self.0).await?;
            }
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }
}

impl Reading {
    fn number(&self, name: &str) -> f64 {
        self.fields.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// CPU time used since another reading, user and system.
    pub(super) fn cpu_since(&self, before: &Self) -> Duration {
        let cpu = |reading: &Self| reading.number("used_cpu_user") + reading.number("used_cpu_sys");
        Duration::from_secs_f64((cpu(self) - cpu(before)).max(0.0))
    }

    /// Bytes of memory in use more than at another reading.
    pub(super) fn memory_since(&self, before: &Self) -> u64 {
        (self.number("used_memory") - before.number("used_memory")).max(0.0) as u64
    }

    /// Bytes received since another reading.
    pub(super) fn received_since(&self, before: &Self) -> u64 {
        (self.number("total_net_input_bytes") - before.number("total_net_input_bytes")).max(0.0) as u64
    }

    /// Calls of scripts since another reading.
    pub(super) fn scripts_since(&self, before: &Self) -> u64 {
        self.calls("evalsha").saturating_sub(before.calls("evalsha"))
    }

    /// What was sent a second since another reading, and what scripts called.
    pub(super) fn commands_since(&self, before: &Self) -> Idle {
        let over = self.at.zip(before.at).map(|(now, then)| now - then).unwrap_or_default();
        let (mut sent, mut in_scripts) = (0, 0);
        for name in self.fields.keys().filter_map(|field| field.strip_prefix("cmdstat_")) {
            let calls = self.calls(name).saturating_sub(before.calls(name));
            if SENT.contains(&name) {
                sent += calls;
            } else if name != "info" {
                in_scripts += calls;
            }
        }
        Idle {
            seconds: super::figures::seconds(over),
            commands_per_second: per_second(sent, over),
            in_scripts_per_second: per_second(in_scripts, over),
            redis_cpu_us_per_second: microseconds_each(self.cpu_since(before), over.as_secs()).unwrap_or_default(),
        }
    }

    fn calls(&self, command: &str) -> u64 {
        let calls = self
            .fields
            .get(&format!("cmdstat_{command}"))
            .and_then(|line| line.split(',').find_map(|part| part.strip_prefix("calls=")?.parse().ok()));
        calls.unwrap_or_default()
    }
}

/// What an idle worker asks of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Idle {
    seconds: f64,
    commands_per_second: f64,
    in_scripts_per_second: f64,
    redis_cpu_us_per_second: f64,
}

/// As many bytes as plain commands: what the server can do at most.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Plain {
    bytes: usize,
    pipelined: usize,
    per_second: f64,
    redis_cpu_us: f64,
    rate_ratio: Option<f64>,
    cpu_ratio: Option<f64>,
}

impl Plain {
    /// With how a run compares to it: its rate as a part of this one, its CPU time as a multiple.
    pub(super) fn compared(mut self, run_per_second: f64, run_redis_cpu_us: f64) -> Self {
        self.rate_ratio = ratio(run_per_second, self.per_second);
        self.cpu_ratio = ratio(run_redis_cpu_us, self.redis_cpu_us);
        self
    }
}
