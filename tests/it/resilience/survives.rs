//! Whatever a provider does to a call, as a table: what comes of the job, how often the provider is called, which
//! attempts and deferrals that uses.

use std::time::Duration;

use serde_json::json;

use super::row::{
    ANSWER, Counted,
    Outcome::{Answered, AnsweredAtLength, Dead, Truncated, Waiting},
    Row,
};
use crate::support::provider::{RefusingAddress, Reply, ScriptedProvider};

/// Long enough for a provider on a busy machine, short enough to be waited for.
const SHORT_MS: u64 = 2_000;

const HOUR_MS: i64 = 3_600_000;

macro_rules! rows {
    ($($name:ident: $row:expr => $outcome:expr, calls $calls:literal, attempts $attempts:literal, deferrals $deferrals:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            $row.ends($outcome, Counted { calls: $calls, attempts: $attempts, deferrals: $deferrals }).await;
        }
    )*};
}

fn limited() -> Reply {
    Reply::error(429, "rate_limit_exceeded", "Rate limit reached")
}

mod limits {
    use super::*;

    rows! {
        a_429_with_retry_after: Row::once(limited().header("retry-after", "1")).code("rate_limited").waits_ms(1_000)
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_429_without_retry_after: Row::once(limited()).code("rate_limited")
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_429_with_insufficient_quota: Row::once(Reply::error(429, "insufficient_quota", "You exceeded your quota")).code("quota_exhausted")
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_retry_after_of_an_hour: Row::of([limited().header("retry-after", "3600")])
            => Waiting("rate_limited", HOUR_MS), calls 1, attempts 0, deferrals 1;
        a_retry_after_of_a_week_is_an_hour: Row::of([limited().header("retry-after", "604800")])
            => Waiting("rate_limited", HOUR_MS), calls 1, attempts 0, deferrals 1;
        a_retry_after_as_a_date: Row::once(limited().header("date", "Wed, 21 Oct 2015 07:28:00 GMT").header("retry-after", "Wed, 21 Oct 2015 07:28:02 GMT")).code("rate_limited").waits_ms(2_000)
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_retry_after_in_milliseconds: Row::once(limited().header("retry-after-ms", "1500").header("retry-after", "60")).code("rate_limited").waits_ms(1_500)
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_429_that_only_says_when_the_limit_is_reset: Row::once(limited().header("x-ratelimit-remaining-tokens", "0").header("x-ratelimit-reset-tokens", "1.5s")).code("rate_limited").waits_ms(1_500)
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_request_larger_than_the_limit: Row::of([Reply::error(429, "rate_limit_exceeded", "Request too large for gpt-x on tokens per min")])
            => Dead("permanent", "larger_than_budget"), calls 1, attempts 1, deferrals 0;
    }
}

mod servers {
    use super::*;

    rows! {
        a_500: Row::once(Reply::status(500)).code("provider_error") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_502: Row::once(Reply::status(502)).code("provider_error") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_503: Row::once(Reply::status(503)).code("provider_overloaded") => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_503_with_retry_after: Row::once(Reply::status(503).header("retry-after", "1")).code("provider_overloaded").waits_ms(1_000)
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_504: Row::once(Reply::status(504)).code("provider_error") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_529: Row::once(Reply::status(529)).code("provider_overloaded") => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_status_nobody_knows: Row::once(Reply::status(599)).code("provider_error") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        html_from_a_proxy: Row::once(Reply::html()).code("provider_garbled") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        html_from_a_proxy_with_its_status: Row::once(Reply::status(502).header("content-type", "text/html").body("<html>Bad Gateway</html>")).code("provider_error")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_wrong_content_type: Row::once(Reply::text("x").header("content-type", "image/png")).code("provider_garbled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_redirect: Row::once(Reply::status(302).header("location", "http://127.0.0.1:9/")).code("provider_garbled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        what_is_no_http: Row::once(Reply::garbage(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")).code("provider_garbled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
    }
}

mod keys_and_models {
    use super::*;

    rows! {
        a_401: Row::once(Reply::error(401, "invalid_api_key", "Incorrect API key provided")).code("provider_unauthorized")
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_403: Row::once(Reply::status(403)).code("provider_unauthorized") => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_404_of_the_model: Row::once(Reply::error(404, "model_not_found", "The model does not exist")).code("model_not_found")
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        a_402: Row::once(Reply::status(402)).code("quota_exhausted") => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
    }
}

mod requests {
    use super::*;

    rows! {
        a_400_of_a_context_that_is_too_long: Row::of([Reply::error(400, "context_length_exceeded", "too many tokens")])
            => Dead("permanent", "context_too_long"), calls 1, attempts 1, deferrals 0;
        a_400_of_anything_else: Row::of([Reply::error(400, "invalid_value", "temperature must be at most 2")])
            => Dead("permanent", "provider_rejected"), calls 1, attempts 1, deferrals 0;
        a_refusal_nobody_knows: Row::once(Reply::status(424)).code("unknown") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_413: Row::of([Reply::status(413)]) => Dead("permanent", "provider_rejected"), calls 1, attempts 1, deferrals 0;
        a_422: Row::of([Reply::status(422)]) => Dead("permanent", "provider_rejected"), calls 1, attempts 1, deferrals 0;
        an_answer_that_ends_at_its_length: Row::of([Reply::text(ANSWER).finish_reason("length")])
            => Truncated, calls 1, attempts 1, deferrals 0;
        an_answer_that_the_content_filter_stops: Row::of([Reply::text("Well, one would").finish_reason("content_filter")])
            => Dead("permanent", "content_refused"), calls 1, attempts 1, deferrals 0;
    }
}

mod network {
    use super::*;

    #[tokio::test]
    async fn a_refused_connection() {
        let nobody = RefusingAddress::new();
        let row = Row::at(nobody.base_url()).code("provider_unreachable");
        let dead = Dead("attempts_exhausted", "provider_unreachable");
        row.ends(dead, Counted { calls: 0, attempts: 2, deferrals: 0 }).await;
    }

    #[tokio::test]
    async fn a_tls_failure() {
        let plain = ScriptedProvider::start(vec![]).await;
        let row = Row::at(plain.base_url().replace("http:", "https:")).code("provider_unreachable");
        let dead = Dead("attempts_exhausted", "provider_unreachable");
        row.ends(dead, Counted { calls: 0, attempts: 2, deferrals: 0 }).await;
        assert_eq!(plain.counts().connections, 2, "one for each attempt");
    }

    rows! {
        a_dns_failure: Row::at("http://no-such-host.invalid/v1").code("provider_unreachable")
            => Dead("attempts_exhausted", "provider_unreachable"), calls 0, attempts 2, deferrals 0;
        a_reset: Row::once(Reply::reset()).code("provider_unreachable") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_connection_that_just_ends: Row::once(Reply::hang_up()).code("provider_unreachable")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
    }
}

mod slow {
    use super::*;

    rows! {
        a_slow_first_token: Row::once(Reply::stall()).with(|app| app.model.first_token_timeout_ms = SHORT_MS).code("provider_timeout")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        headers_and_then_nothing: Row::once(Reply::stall_after_headers()).with(|app| app.model.first_token_timeout_ms = SHORT_MS).code("provider_timeout")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_stall_in_the_middle: Row::once(Reply::text(ANSWER).stall_after(1)).with(|app| app.model.idle_timeout_ms = SHORT_MS).code("stream_stalled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_slow_drip_over_the_total: Row::once(Reply::text("word ".repeat(1_000)).pieces(1_000).drip(Duration::from_millis(50)))
            .with(|app| app.model.call_timeout_ms = SHORT_MS).code("provider_timeout")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
    }
}

/// The bytes of an event whose text is `text`, with these line ends.
fn event(text: &str, end: &str) -> Vec<u8> {
    let event = json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    format!("data: {event}{end}{end}").into_bytes()
}

mod streams {
    use super::*;

    const GREETING: &str = "Grüße aus 東京 🗼 [1].";

    /// Each byte travels by itself.
    fn byte_by_byte() -> Reply {
        // Not as `\u...` escapes, which would be no UTF-8 to split.
        let mut pieces: Vec<Vec<u8>> = event(GREETING, "\n").into_iter().map(|byte| vec![byte]).collect();
        pieces.push(b"data: [DONE]\n\n".to_vec());
        Reply::stream_of(pieces)
    }

    rows! {
        a_stream_cut_before_its_end: Row::once(Reply::text(ANSWER).cut_after(2)).code("stream_cut")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_stream_that_ends_early_in_good_order: Row::once(Reply::text(ANSWER).ended_after(2)).code("stream_cut")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_stream_that_is_reset: Row::once(Reply::text(ANSWER).reset_after(2)).code("stream_cut")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        an_error_frame_inside_a_200: Row::once(Reply::text(ANSWER).event_after(1, &json!({ "error": { "message": "m", "type": "server_error" } }))).code("provider_error")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        a_rate_limit_inside_a_200: Row::once(Reply::text(ANSWER).event_after(1, &json!({ "error": { "message": "m", "code": "rate_limit_exceeded" } }))).code("rate_limited")
            => Answered(ANSWER), calls 2, attempts 1, deferrals 1;
        empty_content: Row::once(Reply::text("")).code("empty_answer") => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        empty_content_for_ever: Row::of(vec![Reply::text(" \n"); 5]).code("empty_answer")
            => Dead("attempts_exhausted", "empty_answer"), calls 5, attempts 5, deferrals 0;
        malformed_json: Row::once(Reply::text(ANSWER).garbage_after(1, "data: {]}\n\n")).code("provider_garbled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        split_utf8: Row::of([byte_by_byte()]) => Answered(GREETING), calls 1, attempts 1, deferrals 0;
        crlf_frames: Row::of([Reply::stream_of([event("High ", "\r\n"), event("water [1].", "\r\n"), b"data: [DONE]\r\n\r\n".to_vec()])])
            => Answered("High water [1]."), calls 1, attempts 1, deferrals 0;
        a_frame_of_5_mb: Row::of([Reply::text("x".repeat(5 << 20)).pieces(1)])
            => AnsweredAtLength(5 << 20), calls 1, attempts 1, deferrals 0;
        a_frame_larger_than_any: Row::once(Reply::text("one").garbage_after(1, "x".repeat(17 << 20))).code("provider_garbled")
            => Answered(ANSWER), calls 2, attempts 2, deferrals 0;
        usage_missing: Row::of([Reply::text(ANSWER).without_usage()]) => Answered(ANSWER), calls 1, attempts 1, deferrals 0;
    }
}
