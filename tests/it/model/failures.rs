//! Every way in which a provider can fail an answer, over real TCP: its code, one call, nothing leaked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{error::Error, time::Duration};

use ragq::{
    config::settings,
    domain::failure::{Code, Failure},
};
use serde_json::json;

use super::support::{KEY, PROMPT, SHORTEST_PAUSE, ask, model_with, settings as settings_for};
use crate::support::provider::{RefusingAddress, Reply, ScriptedProvider};

/// The failure that one call with this reply ends in.
async fn failure_of(reply: Reply) -> Failure {
    failure_with(reply, |_| {}).await
}

/// The same with other settings.
async fn failure_with(reply: Reply, change: impl FnOnce(&mut settings::Model)) -> Failure {
    let provider = ScriptedProvider::start(vec![reply]).await;
    let mut settings = settings_for(&provider.base_url());
    change(&mut settings);
    let failure = ask(&model_with(&settings)).await.expect_err("an answer");
    assert_eq!(provider.calls().len(), 1, "more than one call: {failure}");
    leaks_nothing(&failure);
    provider.finish();
    failure
}

fn leaks_nothing(failure: &Failure) {
    let mut shown = format!("{failure} {failure:?}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        shown = format!("{shown} {error}");
        cause = error.source();
    }
    for secret in [KEY, "0123456789abcdef", PROMPT, "spare lamp oil"] {
        assert!(!shown.contains(secret), "{secret:?} in {shown}");
    }
}

macro_rules! fails {
    ($($name:ident: $reply:expr => $code:ident $(, within $timeout:ident = $ms:literal)?;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let failure = failure_with($reply, |_settings| { $(_settings.$timeout = $ms;)? }).await;
            assert_eq!(failure.code, Code::$code, "{failure:?}");
        }
    )*};
}

mod a_status_is {
    use super::*;

    fails! {
        provider_unauthorized_when_401: Reply::error(401, "invalid_api_key", &format!("Incorrect API key provided: {KEY}.")) => ProviderUnauthorized;
        provider_unauthorized_when_403: Reply::status(403) => ProviderUnauthorized;
        model_not_found_when_404: Reply::error(404, "model_not_found", "The model `asked-1` does not exist") => ModelNotFound;
        rate_limited_when_429: Reply::error(429, "rate_limit_exceeded", "Rate limit reached for requests") => RateLimited;
        quota_exhausted_when_429_says_so: Reply::error(429, "insufficient_quota", "You exceeded your current quota") => QuotaExhausted;
        context_too_long_by_its_code: Reply::error(400, "context_length_exceeded", "too many tokens") => ContextTooLong;
        context_too_long_in_the_words_of_vllm: Reply::status(400).json(&json!({"object": "error", "type": "BadRequestError", "code": 400,
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5120 tokens"})) => ContextTooLong;
        context_too_long_in_the_words_of_ollama: Reply::status(400).json(&json!({"error": "the input length exceeds the context length"})) => ContextTooLong;
        content_refused_by_azure: Reply::error(400, "content_filter", "The response was filtered due to the prompt triggering our policy") => ContentRefused;
        provider_rejected_when_400: Reply::error(400, "invalid_value", "temperature must be at most 2") => ProviderRejected;
        provider_rejected_when_413: Reply::status(413) => ProviderRejected;
        provider_rejected_when_422: Reply::status(422).json(&json!({"detail": [{"msg": "Field required", "input": PROMPT}]})) => ProviderRejected;
        provider_error_when_500: Reply::status(500).body("boom") => ProviderError;
        provider_error_when_502: Reply::status(502).header("content-type", "text/html").body("<html>Bad Gateway</html>") => ProviderError;
        provider_error_when_504: Reply::status(504) => ProviderError;
        provider_overloaded_when_503: Reply::status(503) => ProviderOverloaded;
        provider_overloaded_when_529: Reply::status(529) => ProviderOverloaded;
        provider_garbled_when_it_redirects: Reply::status(302).header("location", "http://127.0.0.1:9/") => ProviderGarbled;
    }
}

mod a_reply_that_never_begins_is {
    use super::*;

    fails! {
        provider_timeout_when_it_stalls: Reply::stall() => ProviderTimeout, within first_token_timeout_ms = 300;
        provider_timeout_when_no_token_follows_its_headers: Reply::stall_after_headers() => ProviderTimeout, within first_token_timeout_ms = 300;
        provider_timeout_when_only_a_role_came: Reply::text("never").stall_after(0) => ProviderTimeout, within first_token_timeout_ms = 300;
        provider_timeout_when_only_comments_come: Reply::stream_of(vec![": working\n\n"; 1_000]) => ProviderTimeout, within first_token_timeout_ms = 300;
        provider_unreachable_when_reset: Reply::reset() => ProviderUnreachable;
        provider_unreachable_when_hung_up: Reply::hang_up() => ProviderUnreachable;
        provider_garbled_when_it_is_no_http: Reply::garbage(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") => ProviderGarbled;
    }

    #[tokio::test]
    async fn provider_unreachable_when_refused() {
        let nobody = RefusingAddress::new();
        let failure = ask(&model_with(&settings_for(&nobody.base_url()))).await.unwrap_err();
        assert_eq!(failure.code, Code::ProviderUnreachable, "{failure:?}");
        leaks_nothing(&failure);
    }

    #[tokio::test]
    async fn provider_unreachable_when_its_name_is_unknown() {
        let model = model_with(&settings_for("http://no-such-host.invalid/v1"));
        assert_eq!(ask(&model).await.unwrap_err().code, Code::ProviderUnreachable);
    }

    #[tokio::test]
    async fn provider_unreachable_when_it_speaks_no_tls() {
        let provider = ScriptedProvider::start(vec![]).await;
        let address = provider.base_url().replace("http:", "https:");
        // Its handshake is never answered.
        let model = model_with(&settings_for(&address));
        let failure = ask(&model).await.unwrap_err();
        assert_eq!(failure.code, Code::ProviderUnreachable, "{failure:?}");
    }
}

mod a_reply_that_goes_wrong_is {
    use super::*;

    fails! {
        stream_stalled_when_it_falls_silent: Reply::text("one two three").stall_after(1) => StreamStalled, within idle_timeout_ms = 300;
        stream_cut_when_the_connection_ends: Reply::text("one two three").cut_after(1) => StreamCut;
        stream_cut_when_the_connection_is_reset: Reply::text("one two three").reset_after(2) => StreamCut;
        stream_cut_when_the_body_ends_early: Reply::text("one two three").ended_after(2) => StreamCut;
        stream_cut_in_the_middle_of_an_event: Reply::text("one").garbage_after(1, "data: {\"choices\":[{\"del") => StreamCut;
        provider_garbled_when_it_is_a_page: Reply::html() => ProviderGarbled;
        provider_garbled_when_its_type_is_none_of_an_answer: Reply::text("x").header("content-type", "image/png").without_done() => ProviderGarbled;
        provider_garbled_when_a_page_calls_itself_a_stream: Reply::stream_of(["<html>\n", "<p>Sign in</p>\n\n"]) => ProviderGarbled;
        provider_garbled_when_an_event_is_no_json: Reply::text("one two").garbage_after(1, "data: {]}\n\n") => ProviderGarbled;
        provider_garbled_when_an_event_is_no_text: Reply::text("one").garbage_after(1, b"data: {\"a\":\"\xff\xfe\"}\n\n") => ProviderGarbled;
        provider_garbled_when_an_event_is_too_large: Reply::text("one").garbage_after(1, "x".repeat(17 << 20)) => ProviderGarbled;
        provider_garbled_when_its_json_is_broken: Reply::status(200).header("content-type", "application/json").body("{\"choices\": ") => ProviderGarbled;
        provider_garbled_when_its_json_is_no_answer: Reply::status(200).json(&json!({"status": "ok"})) => EmptyAnswer;
        empty_answer_when_its_body_is_empty: Reply::stream_of(Vec::<&str>::new()) => EmptyAnswer;
        empty_answer_when_nothing_is_said: Reply::text("") => EmptyAnswer;
        empty_answer_when_only_white_space_is_said: Reply::text("  \n\t \n ") => EmptyAnswer;
        empty_answer_when_the_length_limit_comes_first: Reply::text("").finish_reason("length") => EmptyAnswer;
        content_refused_when_the_filter_cuts_it: Reply::text("Well, one would").finish_reason("content_filter") => ContentRefused;
        content_refused_when_the_model_refuses: Reply::stream_of([
            "data: {\"choices\":[{\"delta\":{\"refusal\":\"I can't\"},\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n"]) => ContentRefused;
        provider_error_by_an_error_event: Reply::text("one").event_after(1, &json!({"error": {"message": "m", "type": "server_error"}})) => ProviderError;
        rate_limited_by_an_error_event: Reply::text("one").event_after(1, &json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})) => RateLimited;
        provider_overloaded_by_an_error_event: Reply::stream_of(["event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"]) => ProviderOverloaded;
        provider_error_by_an_error_event_that_is_no_json: Reply::stream_of(["event: error\ndata: out of memory\n\n"]) => ProviderError;
        context_too_long_by_an_error_in_a_200: Reply::status(200).json(&json!({"error": {"message": "m", "code": "context_length_exceeded"}})) => ContextTooLong;
        quota_exhausted_by_an_error_event_that_names_a_key: Reply::stream_of([format!(
            "data: {{\"error\":{{\"message\":\"no money on {KEY} for: {PROMPT}\",\"code\":\"insufficient_quota\"}}}}\n\n")]) => QuotaExhausted;
    }

    #[tokio::test]
    async fn provider_timeout_when_it_drips_beyond_the_whole_call() {
        let drip = Reply::text("word ".repeat(400)).pieces(400).drip(Duration::from_millis(20));
        let provider = ScriptedProvider::start(vec![drip]).await;
        let mut settings = settings_for(&provider.base_url());
        settings.call_timeout_ms = 1_000;
        let failure = ask(&model_with(&settings)).await.unwrap_err();
        assert_eq!(failure.code, Code::ProviderTimeout, "{failure:?}");
        provider.until("the caller go", |counts| counts.disconnects == 1).await;
    }
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait_in_whatever_form() {
    let limited = || Reply::error(429, "rate_limit_exceeded", "slow down");
    for (reply, milliseconds) in [
        (limited().header("retry-after", "7"), Some(7_000)),
        (limited().header("retry-after-ms", "350"), Some(350)),
        (
            limited()
                .header("date", "Wed, 21 Oct 2015 07:28:00 GMT")
                .header("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
            Some(30_000),
        ),
        (limited().header("x-ratelimit-reset-requests", "120ms"), Some(120)),
        (limited().header("x-ratelimit-reset-tokens", "6m0s"), Some(360_000)),
        (limited().header("retry-after", "999999"), Some(3_600_000)),
        (limited(), None),
        (Reply::status(503).header("retry-after", "3"), Some(3_000)),
        // The limits are sent with every reply: they are no wish to wait where none was met.
        (Reply::status(500).header("x-ratelimit-reset-tokens", "6m0s"), None),
    ] {
        let failure = failure_of(reply).await;
        match milliseconds.map(Duration::from_millis) {
            None => assert!(failure.retry_after < Some(SHORTEST_PAUSE * 2), "{failure:?}"),
            asked => assert_eq!(failure.retry_after, asked, "{failure:?}"),
        }
    }
}

#[tokio::test]
async fn a_failure_says_in_plain_words_what_happened() {
    for (reply, says) in [
        (
            Reply::error(401, "invalid_api_key", &format!("Incorrect API key provided: {KEY}.")),
            "401 Unauthorized: Incorrect API key provided: ***.",
        ),
        (Reply::error(401, "invalid_api_key", "wrong"), "(check OPENAI_API_KEY)"),
        (Reply::error(404, "", "no such model"), "no such model (check the model's name and OPENAI_BASE_URL)"),
        (Reply::status(502).body("<html>x</html>"), "502 Bad Gateway with a page instead of JSON"),
        (Reply::error(400, "x", &format!("bad content '{PROMPT}'")), "bad content ' [the rest repeats the request]"),
        // The passage that was sent with it.
        (Reply::error(400, "x", "got 'The oil is in the cellar.' of you"), "got ' [the rest repeats the request]"),
    ] {
        let failure = failure_of(reply).await;
        assert!(failure.message.contains(says), "{}", failure.message);
    }
    let silent = failure_with(Reply::stall(), |settings| settings.first_token_timeout_ms = 300).await;
    assert_eq!(silent.message, "the provider did not reply within 300ms");
}

#[tokio::test]
async fn an_error_larger_than_any_error_is_read_only_in_part() {
    let failure = failure_of(Reply::status(500).body("x".repeat(8 << 20))).await;
    assert_eq!(failure.code, Code::ProviderError);
    assert!(failure.message.len() < 1_000, "{}", failure.message.len());
}
