//! What a reply says of the provider's rate limits: `x-ratelimit-limit-*`, `-remaining-*`, `-reset-*`.
//!
//! Some providers count requests by the day under the same names. The time until a limit is whole again tells: it is to
//! the limit's whole window as what is used is to the limit.

use std::time::Duration;

use http::HeaderMap;

use super::retry_after;
use crate::resilience::budget::{RateHeaders, RateLimits};

/// A window that is longer than this is not a minute.
const LONGEST_MINUTE: Duration = Duration::from_secs(150);

/// What the headers say of limits by the minute.
pub(super) fn read(headers: &HeaderMap) -> RateHeaders {
    let requests = of(headers, "requests");
    let tokens = of(headers, "tokens");
    let part = |which: fn(&(u64, Option<u64>)) -> Option<u64>| RateLimits {
        requests: requests.as_ref().and_then(which),
        tokens: tokens.as_ref().and_then(which),
    };
    RateHeaders { limits: part(|(limit, _)| Some(*limit)), remaining: part(|(_, remaining)| *remaining) }
}

fn of(headers: &HeaderMap, kind: &str) -> Option<(u64, Option<u64>)> {
    let number = |what: &str| retry_after::text(headers, &format!("x-ratelimit-{what}-{kind}"))?.parse::<u64>().ok();
    let limit = number("limit").filter(|limit| *limit > 0)?;
    let remaining = number("remaining").map(|remaining| remaining.min(limit));
    let reset = retry_after::text(headers, &format!("x-ratelimit-reset-{kind}")).and_then(retry_after::span);
    if let (Some(reset), Some(remaining)) = (reset, remaining) {
        let used = (limit - remaining).max(1);
        if reset.mul_f64(limit as f64 / used as f64) > LONGEST_MINUTE {
            return None;
        }
    }
    Some((limit, remaining))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn limits_by_the_minute_are_learned_and_limits_by_the_day_are_not() {
        let minute = headers(&[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "28500"),
            ("x-ratelimit-reset-tokens", "3s"),
        ]);
        let read_minute = read(&minute);
        assert_eq!(read_minute.limits, RateLimits { requests: Some(500), tokens: Some(30_000) });
        assert_eq!(read_minute.remaining, RateLimits { requests: Some(499), tokens: Some(28_500) });
        let day = headers(&[
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "8.64s"),
            ("x-ratelimit-limit-tokens", "200000"),
        ]);
        assert_eq!(read(&day).limits, RateLimits { requests: None, tokens: Some(200_000) });
    }

    #[test]
    fn headers_that_say_nothing_usable_teach_nothing() {
        for (name, value) in [
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-limit-tokens", "many"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("x-ratelimit-reset-tokens", "1s"),
        ] {
            assert_eq!(read(&headers(&[(name, value)])), RateHeaders::default(), "{name}: {value}");
        }
    }
}
