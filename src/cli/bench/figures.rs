//! What a run comes to: latencies, CPU time, and the line they are printed as.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies of a run, each within a thousandth of what it was.
#[derive(Debug)]
pub(in crate::cli) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(in crate::cli) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new(3)?))
    }

    pub(in crate::cli) fn record(&mut self, latency: Duration) {
        // It grows as it needs to, up to more than a century.
        self.0.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)).ok();
    }

    pub(in crate::cli) fn summary(&self) -> LatencySummary {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        LatencySummary { p50: at(0.5), p95: at(0.95), p99: at(0.99), p99_9: at(0.999), max: milliseconds(self.0.max()) }
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::cli) struct LatencySummary {
    pub(super) p50: f64,
    p95: f64,
    pub(super) p99: f64,
    p99_9: f64,
    max: f64,
}

fn milliseconds(nanoseconds: u64) -> f64 {
    round(nanoseconds as f64 / 1e6, 1e3)
}

/// CPU microseconds for each job; none: not measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CpuPerJob {
    pub(super) client: f64,
    pub(super) server: Option<f64>,
    pub(super) redis: Option<f64>,
}

/// CPU time over jobs, in microseconds; none if there were no jobs.
pub(super) fn microseconds_each(used: Duration, jobs: u64) -> Option<f64> {
    (jobs > 0).then(|| round(used.as_secs_f64() * 1e6 / jobs as f64, 1e2))
}

/// How many a second.
pub(super) fn per_second(count: u64, over: Duration) -> f64 {
    if over.is_zero() { 0.0 } else { round(count as f64 / over.as_secs_f64(), 1e1) }
}

/// The one over the other; none if the other is nothing.
pub(super) fn ratio(one: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| round(one / other, 1e2))
}

pub(in crate::cli) fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64(), 1e4)
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_milliseconds_within_a_thousandth() {
        let mut latencies = Latencies::new().unwrap();
        for ms in 1..=1000 {
            latencies.record(Duration::from_millis(ms));
        }
        let summary = latencies.summary();
        for (seen, meant) in [(summary.p50, 500.0), (summary.p99, 990.0), (summary.p99_9, 999.0), (summary.max, 1000.0)]
        {
            assert!((seen / meant - 1.0).abs() < 0.002, "{seen} for {meant}");
        }
    }

    #[test]
    fn nothing_done_costs_nothing_that_could_be_told() {
        assert_eq!(microseconds_each(Duration::from_secs(1), 0), None);
        assert_eq!(microseconds_each(Duration::from_secs(1), 1000), Some(1000.0));
        assert_eq!(ratio(1.0, 0.0), None);
    }
}
