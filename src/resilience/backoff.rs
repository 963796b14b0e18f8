//! Exponential backoff with full jitter.
//!
//! Full jitter (a wait drawn evenly between zero and the exponential bound) spreads the retries of many
//! jobs that failed at the same moment best; see Marc Brooker, "Exponential Backoff And Jitter" (2015).

use std::time::{Duration, SystemTime};

use retry_policies::{Jitter, RetryDecision, RetryPolicy, policies::ExponentialBackoff};

/// Waits that double from `base` up to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Doubling from `base`, never above `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// A wait for after the failure number `failures` (from 1) in a row, drawn at random.
    pub fn wait(&self, failures: u32) -> Duration {
        let policy = ExponentialBackoff::builder()
            .retry_bounds(self.base, self.cap.max(self.base))
            .jitter(Jitter::Full)
            .base(2)
            .build_with_max_retries(u32::MAX);
        // The policy answers with an instant of the machine's clock: taken apart again at once.
        #[expect(clippy::disallowed_methods, reason = "the counterpart of the policy's own SystemTime::now")]
        let now = SystemTime::now();
        match policy.should_retry(now, failures.saturating_sub(1)) {
            RetryDecision::Retry { execute_after } => {
                execute_after.duration_since(now).unwrap_or_default().min(self.cap)
            }
            RetryDecision::DoNotRetry => self.cap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_below_a_doubling_bound_and_never_above_the_cap() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for (failures, bound_ms) in [(1, 100), (2, 200), (3, 400), (6, 2_000), (40, 2_000), (u32::MAX, 2_000)] {
            let waits: Vec<_> = (0..400).map(|_| backoff.wait(failures).as_millis()).collect();
            let longest = waits.iter().max().copied().unwrap();
            assert!(longest <= bound_ms + 1, "{failures}: {longest}");
            assert!(longest > bound_ms / 2, "{failures}: {longest}");
            assert!(waits.iter().min().copied().unwrap() < bound_ms / 4, "no jitter at {failures}");
        }
    }
}
