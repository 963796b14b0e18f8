//! What happens to a job after a failed delivery.

use std::time::Duration;

use super::backoff::Backoff;
use crate::domain::{
    failure::{Class, Code, Failure},
    job::DeadReason,
};

/// What happens to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The attempt is used; another after this wait.
    Retry(Duration),
    /// The attempt is not used; the job is put back for this long.
    Defer(Duration),
    /// The job is dead.
    Dead(DeadReason),
}

/// How jobs are retried and deferred.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Waits between attempts.
    pub retry: Backoff,
    /// Waits between attempts that failed for the passage index: no breaker keeps jobs in the queue until it is back, so
    /// that a restart of its server must fit into the attempts that a job has.
    pub index: Backoff,
    /// Waits between deferrals.
    pub defer: Backoff,
    /// The longest Retry-After that is believed.
    pub longest_retry_after: Duration,
}

impl RetryPolicy {
    /// Waits between attempts from `base` to `cap`, four times as long for the index; deferrals from 1 s to 30 s; Retry-After up to an hour.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            retry: Backoff::new(base, cap),
            index: Backoff::new(base.saturating_mul(4), cap),
            defer: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            longest_retry_after: Duration::from_hours(1),
        }
    }

    /// The consequence of `failure` for a job in its `attempt`-th of `max_attempts`, deferred `deferrals` times so far.
    pub fn decide(&self, failure: &Failure, attempt: u32, max_attempts: u32, deferrals: u32) -> Decision {
        let asked = failure.retry_after.unwrap_or_default().min(self.longest_retry_after);
        match failure.class() {
            Class::Permanent if failure.code == Code::DeadlineExceeded => Decision::Dead(DeadReason::DeadlineExceeded),
            Class::Permanent => Decision::Dead(DeadReason::Permanent),
            Class::Transient if failure.defers() => self.defer(deferrals, asked),
            Class::Transient if attempt >= max_attempts => Decision::Dead(DeadReason::AttemptsExhausted),
            Class::Transient => {
                let backoff = if failure.code == Code::IndexUnavailable { self.index } else { self.retry };
                Decision::Retry(backoff.wait(attempt).max(asked))
            }
            Class::Overloaded | Class::ProviderUnusable => self.defer(deferrals, asked),
        }
    }

    fn defer(&self, deferrals: u32, asked: Duration) -> Decision {
        // At least a tenth of a second: with full jitter a wait may be nothing at all, and a deferral uses up no attempt
        // that would ever end the turning in circles.
        let wait = self.defer.wait(deferrals.saturating_add(1)).max(Duration::from_millis(100));
        Decision::Defer(wait.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy::new(Duration::from_millis(10), Duration::from_millis(20));

    #[test]
    fn every_code_follows_its_class() {
        for code in Code::ALL {
            let failure = Failure::new(*code, "");
            let early = POLICY.decide(&failure, 1, 5, 0);
            let last = POLICY.decide(&failure, 5, 5, 0);
            match code.class() {
                Class::Transient => {
                    assert!(matches!(early, Decision::Retry(wait) if wait <= Duration::from_millis(20)), "{code}");
                    assert_eq!(last, Decision::Dead(DeadReason::AttemptsExhausted), "{code}");
                }
                Class::Overloaded | Class::ProviderUnusable => {
                    assert!(matches!(early, Decision::Defer(_)), "{code}");
                    assert!(matches!(last, Decision::Defer(_)), "{code}");
                }
                Class::Permanent => assert!(matches!(early, Decision::Dead(_)), "{code}"),
            }
        }
    }

    #[test]
    fn a_retry_after_is_obeyed_but_not_beyond_an_hour() {
        let asked = |seconds| Failure::new(Code::RateLimited, "").with_retry_after(Some(Duration::from_secs(seconds)));
        assert_eq!(POLICY.decide(&asked(40), 1, 5, 0), Decision::Defer(Duration::from_secs(40)));
        assert_eq!(POLICY.decide(&asked(90_000), 1, 5, 0), Decision::Defer(Duration::from_hours(1)));
    }

    #[test]
    fn a_failed_probe_is_a_deferral_unless_the_request_can_never_succeed() {
        let probe = |code| Failure { probe: true, ..Failure::new(code, "") };
        assert!(matches!(POLICY.decide(&probe(Code::ProviderError), 5, 5, 0), Decision::Defer(_)));
        assert_eq!(POLICY.decide(&probe(Code::ContextTooLong), 1, 5, 0), Decision::Dead(DeadReason::Permanent));
    }

    #[test]
    fn the_index_is_given_four_times_as_long_up_to_the_cap() {
        let policy = RetryPolicy::new(Duration::from_millis(10), Duration::from_millis(100));
        let longest = |code, attempt| {
            let waits = (0..400).map(|_| match policy.decide(&Failure::new(code, ""), attempt, 9, 0) {
                Decision::Retry(wait) => wait.as_millis(),
                other => panic!("{other:?}"),
            });
            waits.max().unwrap()
        };
        assert!((6..=11).contains(&longest(Code::ProviderError, 1)));
        assert!((25..=41).contains(&longest(Code::IndexUnavailable, 1)));
        assert!((60..=101).contains(&longest(Code::IndexUnavailable, 5)));
    }

    #[test]
    fn a_missed_deadline_is_its_own_reason() {
        let failure = Failure::new(Code::DeadlineExceeded, "");
        assert_eq!(POLICY.decide(&failure, 1, 5, 0), Decision::Dead(DeadReason::DeadlineExceeded));
    }
}
