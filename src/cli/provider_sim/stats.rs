//! What the simulated provider counts, for `GET /sim/stats`.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;

use super::fault::Operation;
use crate::cli::bench::figures::{Latencies, LatencySummary, seconds};

/// Counts since a moment.
#[derive(Debug)]
pub(super) struct Counted {
    since: Instant,
    last_call: Option<Instant>,
    gaps: Latencies,
    operations: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<u16, u64>,
    faults: BTreeMap<&'static str, u64>,
    closed_by_caller: u64,
    max_in_flight: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// What was counted, as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    seconds: f64,
    calls: u64,
    operations: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<u16, u64>,
    faults: BTreeMap<&'static str, u64>,
    closed_by_caller: u64,
    in_flight: u64,
    max_in_flight: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    gaps_ms: LatencySummary,
}

impl Counted {
    /// Begins to count, with so many calls under way.
    pub(super) fn new(in_flight: u64, now: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            since: now,
            last_call: None,
            gaps: Latencies::new()?,
            operations: BTreeMap::new(),
            statuses: BTreeMap::new(),
            faults: BTreeMap::new(),
            closed_by_caller: 0,
            max_in_flight: in_flight,
            prompt_tokens: 0,
            completion_tokens: 0,
        })
    }

    /// A call came, with which so many are under way.
    pub(super) fn arrived(&mut self, operation: Operation, in_flight: u64, now: Instant) {
        *self.operations.entry(operation.as_str()).or_default() += 1;
        self.max_in_flight = self.max_in_flight.max(in_flight);
        if let Some(last) = self.last_call.replace(now) {
            self.gaps.record(now.saturating_duration_since(last));
        }
    }

    /// A reply began.
    pub(super) fn replied(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    /// A fault happened.
    pub(super) fn failed(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// A call ended.
    pub(super) fn ended(&mut self, prompt_tokens: u64, completion_tokens: u64, by_caller: bool) {
        self.prompt_tokens += prompt_tokens;
        self.completion_tokens += completion_tokens;
        self.closed_by_caller += u64::from(by_caller);
    }

    /// What was counted up to now.
    pub(super) fn stats(&self, in_flight: u64, now: Instant) -> Stats {
        Stats {
            seconds: seconds(now.saturating_duration_since(self.since)),
            calls: self.operations.values().sum(),
            operations: self.operations.clone(),
            statuses: self.statuses.clone(),
            faults: self.faults.clone(),
            closed_by_caller: self.closed_by_caller,
            in_flight,
            max_in_flight: self.max_in_flight,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            gaps_ms: self.gaps.summary(),
        }
    }
}
