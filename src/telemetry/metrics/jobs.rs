//! What happens to jobs, as the process that did it counts it.

use std::time::Duration;

use super::{
    Metrics,
    words::{AttemptClass, Outcome},
};
use crate::domain::{
    failure::{Class, Code},
    job::{DeadReason, Kind},
};

/// Counts a job as worked on until dropped.
pub struct JobInFlight {
    metrics: Metrics,
    kind: Kind,
}

impl Drop for JobInFlight {
    fn drop(&mut self) {
        self.metrics.process().in_flight.at((self.kind,)).decrement(1.0);
    }
}

impl Metrics {
    /// A job was stored.
    pub fn submitted(&self, kind: Kind) {
        self.process().submitted.at((kind,)).increment(1);
    }

    /// A job could not be stored: the queue is full.
    pub fn refused(&self, kind: Kind) {
        self.process().refused.at((kind,)).increment(1);
    }

    /// A job was handed to this worker after it had been queued for so long.
    pub fn delivered(&self, kind: Kind, waited: Duration) {
        self.process().delivered.at((kind,)).increment(1);
        self.process().wait.at((kind,)).record(waited);
    }

    /// How many jobs of the kind this worker takes at a time.
    pub fn slots(&self, kind: Kind, slots: u32) {
        self.process().slots.at((kind,)).set(slots);
    }

    /// This worker works on a job, until the guard is dropped.
    pub fn job_in_flight(&self, kind: Kind) -> JobInFlight {
        self.process().in_flight.at((kind,)).increment(1.0);
        JobInFlight { metrics: self.clone(), kind }
    }

    /// This worker is done with a delivery, however that ended.
    pub fn ran(&self, kind: Kind, took: Duration) {
        self.process().run.at((kind,)).record(took);
    }

    /// A job completed so long after it was submitted.
    pub fn completed(&self, kind: Kind, end_to_end: Duration) {
        self.process().attempts.at((kind, AttemptClass::Succeeded)).increment(1);
        self.process().finished.at((kind, Outcome::Completed)).increment(1);
        self.process().end_to_end.at((kind,)).record(end_to_end);
    }

    /// A delivery ended in a failure.
    pub fn failed(&self, code: Code) {
        self.process().failures.at((code,)).increment(1);
    }

    /// Jobs became dead letters; not by an attempt where there is no class.
    pub fn dead(&self, kind: Kind, reason: DeadReason, class: Option<Class>, jobs: u64) {
        self.process().finished.at((kind, Outcome::Dead)).increment(jobs);
        self.process().dead_lettered.at((kind, reason)).increment(jobs);
        if let Some(class) = class.and_then(AttemptClass::of) {
            self.process().attempts.at((kind, class)).increment(jobs);
        }
    }

    /// Jobs were called off.
    pub fn cancelled(&self, kind: Kind, jobs: u64) {
        self.process().finished.at((kind, Outcome::Cancelled)).increment(jobs);
    }

    /// A job was put back to be tried again: its attempt is used.
    pub fn retried(&self, kind: Kind) {
        self.process().attempts.at((kind, AttemptClass::Transient)).increment(1);
    }

    /// A job was put back without using an attempt.
    pub fn deferred(&self, cause: Code) {
        self.process().deferrals.at((cause,)).increment(1);
    }

    /// A job was handed back uncounted.
    pub fn handed_back(&self, kind: Kind) {
        self.process().handed_back.at((kind,)).increment(1);
    }

    /// Leases were taken from workers that fell silent.
    pub fn leases_lost(&self, leases: u64) {
        self.process().lost_leases.at(()).increment(leases);
    }

    /// A finish or release came too late.
    pub fn stale_finish(&self, kind: Kind) {
        self.process().stale_finishes.at((kind,)).increment(1);
    }

    /// Dead letters were queued again.
    pub fn replayed(&self, letters: u64) {
        self.process().replays.at(()).increment(letters);
    }

    /// Dead letters were removed for good.
    pub fn discarded(&self, letters: u64) {
        self.process().discards.at(()).increment(letters);
    }
}
