//! Which event logs are being read: whoever reads one leaves a mark that expires, so that a worker writes
//! its answer's pieces at a reader's pace only while there is one. In memory: readers and workers of this
//! store are in one process, and a mark that is lost costs nothing but pace.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::domain::{clock::Timestamp, ids::JobId};

/// How long a mark holds: more than two rounds of a worker that writes every second because nobody reads.
const HOLDS: Duration = Duration::from_millis(2_500);

/// Marks kept before expired ones are looked for.
const SWEEP_AT: usize = 1_024;

/// The marks.
#[derive(Debug, Default)]
pub(super) struct ReadMarks(Mutex<HashMap<JobId, Timestamp>>);

impl ReadMarks {
    fn marks(&self) -> MutexGuard<'_, HashMap<JobId, Timestamp>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's log is being read now.
    pub(super) fn mark(&self, job: JobId, now: Timestamp) {
        let mut marks = self.marks();
        if marks.len() >= SWEEP_AT && !marks.contains_key(&job) {
            marks.retain(|_, until| *until > now);
        }
        marks.insert(job, now.plus(HOLDS));
    }

    /// Whether the job's log was read lately.
    pub(super) fn is_read(&self, job: JobId, now: Timestamp) -> bool {
        let mut marks = self.marks();
        match marks.get(&job) {
            Some(until) if *until > now => true,
            Some(_) => {
                marks.remove(&job);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_expires_and_expired_ones_are_dropped() {
        let marks = ReadMarks::default();
        let first = JobId::new(0);
        marks.mark(first, Timestamp(0));
        assert!(marks.is_read(first, Timestamp(2_000)));
        assert!(!marks.is_read(first, Timestamp(2_500)));
        for _ in 0..SWEEP_AT {
            marks.mark(JobId::new(0), Timestamp(0));
        }
        marks.mark(JobId::new(0), Timestamp(10_000));
        assert_eq!(marks.marks().len(), 1);
    }
}
