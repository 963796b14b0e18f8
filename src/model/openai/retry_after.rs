//! How long a provider asks us to wait, in all the forms in which providers say it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jiff::SignedDuration;

use crate::domain::clock::{Clock, SystemClock};

/// No provider is obeyed for longer: a broken header must not close it for a day.
pub(super) const MAX_WAIT: Duration = Duration::from_hours(1);

/// The wait that a failed reply asks for: `retry-after-ms`, else `retry-after` (seconds or an HTTP date).
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = text(headers, "retry-after-ms").and_then(|ms| seconds(ms).map(|wait| wait / 1000));
    let wait = milliseconds.or_else(|| {
        let value = text(headers, "retry-after")?;
        seconds(value).or_else(|| until(value, headers)).or_else(|| friendly(value))
    })?;
    Some(wait.min(MAX_WAIT))
}

/// When a rate limit that was met is free again, by `x-ratelimit-reset-*`: the longest of the limits that
/// are used up, or of all if none says so (a token limit refuses while a few tokens remain).
pub(super) fn reset(headers: &HeaderMap) -> Option<Duration> {
    let of = |kind: &str| {
        let reset = text(headers, &format!("x-ratelimit-reset-{kind}"))?;
        let used_up = text(headers, &format!("x-ratelimit-remaining-{kind}")).is_some_and(|left| left == "0");
        Some((used_up, span(reset)?))
    };
    let limits: Vec<(bool, Duration)> = ["requests", "tokens"].into_iter().filter_map(of).collect();
    let used_up = limits.iter().filter(|(used_up, _)| *used_up).map(|(_, wait)| *wait).max();
    used_up.or_else(|| limits.iter().map(|(_, wait)| *wait).max()).map(|wait| wait.min(MAX_WAIT))
}

/// The header's value.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn seconds(value: &str) -> Option<Duration> {
    let number: f64 = value.parse().ok()?;
    (number >= 0.0).then(|| Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX))
}

/// A time in seconds, or written as `1s`, `6m0s`.
pub(super) fn span(value: &str) -> Option<Duration> {
    friendly(value).or_else(|| seconds(value))
}

/// `1s`, `6m0s`, `120ms`, `1h2m3.5s`.
fn friendly(value: &str) -> Option<Duration> {
    let duration: SignedDuration = value.parse().ok()?;
    Duration::try_from(duration).ok()
}

/// The time from the reply's own `Date` until `value`: clocks differ, and the provider's own is the one
/// it means.
fn until(value: &str, headers: &HeaderMap) -> Option<Duration> {
    let then = httpdate::parse_http_date(value).ok()?;
    let now = text(headers, "date").and_then(|date| httpdate::parse_http_date(date).ok()).or_else(our_time)?;
    Some(then.duration_since(now).unwrap_or_default())
}

fn our_time() -> Option<SystemTime> {
    let since_epoch = Duration::from_millis(u64::try_from(SystemClock.now().0).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_form_of_retry_after_is_understood() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (given, milliseconds) in [
            (vec![("retry-after", "20")], Some(20_000)),
            (vec![("retry-after", "0")], Some(0)),
            (vec![("retry-after", "1.5")], Some(1_500)),
            (vec![("retry-after", "30s")], Some(30_000)),
            (vec![("retry-after-ms", "250"), ("retry-after", "1")], Some(250)),
            (vec![("retry-after-ms", "soon"), ("retry-after", "1")], Some(1_000)),
            (vec![date, ("retry-after", "Wed, 21 Oct 2015 07:28:42 GMT")], Some(42_000)),
            (vec![date, ("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")], Some(0)),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:28:42 GMT")], Some(0)),
            (vec![("retry-after", "86400")], Some(3_600_000)),
            (vec![("retry-after", "1e300")], Some(3_600_000)),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "NaN")], None),
            (vec![("retry-after", "later")], None),
            (vec![], None),
        ] {
            assert_eq!(asked(&headers(&given)), milliseconds.map(Duration::from_millis), "{given:?}");
        }
    }

    #[test]
    fn every_form_of_a_rate_limit_reset_is_understood() {
        for (value, milliseconds) in [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("8.64s", Some(8_640)),
            ("1h2m3s", Some(3_600_000)),
            ("17", Some(17_000)),
            ("-3s", None),
            ("", None),
        ] {
            let given = headers(&[("x-ratelimit-reset-tokens", value)]);
            assert_eq!(reset(&given), milliseconds.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn the_limit_that_is_used_up_decides() {
        let both = [("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")];
        assert_eq!(reset(&headers(&both)), Some(Duration::from_mins(6)));
        let requests = [both[0], both[1], ("x-ratelimit-remaining-requests", "0")];
        assert_eq!(reset(&headers(&requests)), Some(Duration::from_secs(1)));
    }
}
