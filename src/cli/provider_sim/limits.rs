//! Hard limits as providers enforce them: buckets of one minute, refilled all the time. Pure.
//!
//! A call is charged when it is admitted with all it may use (its prompt and `max_tokens`), and settled at its end
//! with what it did use. Written apart from the budgets by which ragq keeps within such limits, because it is the
//! judge of them.

use std::time::Duration;

use tokio::time::Instant;

/// A limit per minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_minute: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_minute: u64, now: Instant) -> Self {
        Self { per_minute: per_minute as f64, level: per_minute as f64, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_minute / 60.0).min(self.per_minute);
        self.at = now;
    }

    /// How long it takes until the level has risen to this.
    fn until(&self, level: f64) -> Duration {
        Duration::from_secs_f64(((level - self.level).max(0.0) * 60.0 / self.per_minute).min(86_400.0))
    }

    fn standing(&self) -> Standing {
        Standing {
            limit: self.per_minute as u64,
            remaining: self.level.max(0.0) as u64,
            reset: self.until(self.per_minute),
        }
    }
}

/// How a limit stands, for the `x-ratelimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The most in a minute.
    pub(super) limit: u64,
    /// What is left just now.
    pub(super) remaining: u64,
    /// When it is full again.
    pub(super) reset: Duration,
}

/// Why a call was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverLimit {
    /// It would be admitted after this time.
    Wait(Duration),
    /// It never would: it is larger than the whole bucket of tokens.
    TooLarge {
        /// The most in a minute.
        limit: u64,
    },
}

/// Both limits of the provider; none: unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Requests a minute.
    pub(super) requests: Option<Bucket>,
    /// Tokens a minute.
    pub(super) tokens: Option<Bucket>,
}

impl Limits {
    /// Takes one request and so many tokens out of the buckets, or neither.
    pub(super) fn admit(&mut self, tokens: u64, now: Instant) -> Result<(), OverLimit> {
        let tokens = tokens as f64;
        for bucket in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
            bucket.refill(now);
        }
        if let Some(bucket) = self.tokens.filter(|bucket| tokens > bucket.per_minute) {
            return Err(OverLimit::TooLarge { limit: bucket.per_minute as u64 });
        }
        let for_requests = self.requests.map_or(Duration::ZERO, |bucket| bucket.until(1.0));
        let for_tokens = self.tokens.map_or(Duration::ZERO, |bucket| bucket.until(tokens));
        let wait = for_requests.max(for_tokens);
        if !wait.is_zero() {
            return Err(OverLimit::Wait(wait));
        }
        for (bucket, taken) in [(&mut self.requests, 1.0), (&mut self.tokens, tokens)] {
            if let Some(bucket) = bucket {
                bucket.level -= taken;
            }
        }
        Ok(())
    }

    /// Gives back what a call was charged and did not use.
    pub(super) fn settle(&mut self, charged: u64, used: u64, now: Instant) {
        if let Some(bucket) = &mut self.tokens {
            bucket.refill(now);
            bucket.level = (bucket.level + charged as f64 - used as f64).min(bucket.per_minute);
        }
    }

    /// How both stand: requests, then tokens.
    pub(super) fn standing(&mut self, now: Instant) -> [Option<Standing>; 2] {
        [&mut self.requests, &mut self.tokens].map(|bucket| {
            bucket.as_mut().map(|bucket| {
                bucket.refill(now);
                bucket.standing()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(requests: Option<u64>, tokens: Option<u64>, now: Instant) -> Limits {
        Limits {
            requests: requests.map(|limit| Bucket::new(limit, now)),
            tokens: tokens.map(|limit| Bucket::new(limit, now)),
        }
    }

    #[test]
    fn a_minute_of_requests_can_be_made_at_once_and_then_one_by_one() {
        let now = Instant::now();
        let mut limits = limits(Some(60), None, now);
        assert_eq!((0..70).filter(|_| limits.admit(1_000_000, now).is_ok()).count(), 60);
        assert_eq!(limits.admit(1, now), Err(OverLimit::Wait(SECOND)));
        assert_eq!(limits.admit(1, now + SECOND), Ok(()));
        assert_eq!(limits.admit(1, now + SECOND), Err(OverLimit::Wait(SECOND)));
        assert_eq!(
            (0..70).filter(|_| limits.admit(1, now + 500 * SECOND).is_ok()).count(),
            60,
            "no more than a minute"
        );
    }

    #[test]
    fn tokens_are_charged_at_admission_and_given_back_at_the_end() {
        let now = Instant::now();
        let mut limits = limits(None, Some(6_000), now);
        assert_eq!(limits.admit(5_000, now), Ok(()));
        assert_eq!(limits.admit(1_500, now), Err(OverLimit::Wait(5 * SECOND)));
        limits.settle(5_000, 400, now);
        assert_eq!(limits.admit(1_500, now), Ok(()));
        limits.settle(1_500, 1_500, now);
        let [requests, tokens] = limits.standing(now);
        assert_eq!(requests, None);
        assert_eq!(tokens, Some(Standing { limit: 6_000, remaining: 4_100, reset: 19 * SECOND }));
    }

    #[test]
    fn a_call_that_is_refused_takes_nothing() {
        let now = Instant::now();
        let mut limits = limits(Some(1), Some(100), now);
        assert_eq!(limits.admit(101, now), Err(OverLimit::TooLarge { limit: 100 }));
        assert_eq!(limits.admit(100, now), Ok(()));
        limits.settle(100, 0, now);
        assert_eq!(limits.admit(100, now), Err(OverLimit::Wait(60 * SECOND)), "no request is left");
        assert_eq!(limits.standing(now)[1].map(|tokens| tokens.remaining), Some(100));
    }
}
