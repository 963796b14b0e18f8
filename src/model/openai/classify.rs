//! What a provider's status, body or transport error means: everything ends in one [`Code`].
//!
//! The rows are tested as a table below and over TCP in `tests/it/model`. Where providers disagree, the
//! harmless reading wins: what may be temporary is deferred or retried, and only what names its reason
//! plainly is permanent, because permanent is dead at once.

use super::error_body::ErrorBody;
use crate::domain::failure::Code;

const QUOTA: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "insufficient_user_quota",
];
const KEY: &[&str] = &["invalid_api_key", "invalid_authentication", "authentication_error", "permission_denied"];
const MODEL: &[&str] = &["model_not_found", "DeploymentNotFound", "model_not_available"];
const REFUSED: &[&str] =
    &["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "moderation_blocked"];
const TOO_LONG: &[&str] = &["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"];
const BUSY: &[&str] =
    &["overloaded_error", "engine_overloaded", "server_overloaded", "service_unavailable", "UNAVAILABLE"];
const LIMITED: &[&str] =
    &["rate_limit_exceeded", "rate_limit_error", "too_many_requests", "requests", "tokens", "RESOURCE_EXHAUSTED"];
const REJECTED: &[&str] = &["invalid_request_error", "BadRequestError", "INVALID_ARGUMENT"];

/// `OpenAI` and vLLM, llama.cpp, Ollama, Gemini, Anthropic's and Bedrock's gateways, TGI and TEI, LM Studio.
const TOO_LONG_SAYS: &[&str] = &[
    "maximum context length",
    "context length exceeded",
    "exceeds the context",
    "exceed the context",
    "exceeds the available context",
    "exceeds the model's context",
    "exceeds context",
    "greater than the context length",
    "longer than the maximum model length",
    "exceeds the maximum number of tokens",
    "maximum input length is",
    "prompt is too long",
    "input is too long for",
    "reduce the length of the messages",
    "`inputs` tokens + `max_new_tokens`",
    "`inputs` must have less than",
];
const REFUSED_SAYS: &[&str] = &["content management policy", "input was flagged", "flagged by moderation"];
const KEY_SAYS: &[&str] = &["api key not valid", "incorrect api key", "invalid api key"];

/// What a reply that is no answer means: `status` is none for an error inside a stream that began well.
pub(super) fn reply(status: Option<u16>, body: &ErrorBody) -> Code {
    // Gateways put the status they got themselves into the code of an error frame.
    let inner = body.code.as_deref().and_then(|code| code.parse().ok()).filter(|code| (400..600).contains(code));
    match status.filter(|status| !(200..300).contains(status)).or(inner) {
        Some(status) => of_status(status, body),
        None => of_words(body).unwrap_or(if body.html { Code::ProviderGarbled } else { Code::ProviderError }),
    }
}

fn of_status(status: u16, body: &ErrorBody) -> Code {
    match status {
        ..400 => Code::ProviderGarbled,
        402 => Code::QuotaExhausted,
        401 | 403 | 407 => match of_words(body) {
            Some(code @ (Code::QuotaExhausted | Code::ContentRefused)) => code,
            _ => Code::ProviderUnauthorized,
        },
        // 405 and 410 as 404: a wrong base address or a retired model, for somebody to mend.
        404 | 405 | 410 => Code::ModelNotFound,
        408 => Code::ProviderTimeout,
        409 | 425 | 499 => Code::ProviderError,
        429 if body.is(QUOTA) => Code::QuotaExhausted,
        // "Request too large for gpt-x on tokens per minute": waiting does not make it smaller.
        429 if body.says(&["request too large for"]) => Code::LargerThanBudget,
        429 => Code::RateLimited,
        400 | 406 | 411..=417 | 422 | 431 | 451 => match of_words(body) {
            Some(
                code @ (Code::ContextTooLong
                | Code::ContentRefused
                | Code::ModelNotFound
                | Code::ProviderUnauthorized
                | Code::QuotaExhausted),
            ) => code,
            _ => Code::ProviderRejected,
        },
        // Gateways make up refusals of their own, such as 424 for a failure behind them or 430 for a rate limit: the
        // status alone is no reason to give a job up.
        400..500 => of_words(body).unwrap_or(Code::Unknown),
        503 | 529 => Code::ProviderOverloaded,
        // Some servers report a prompt that does not fit as their own error.
        500 if body.is(TOO_LONG) || body.says(TOO_LONG_SAYS) => Code::ContextTooLong,
        500.. => Code::ProviderError,
    }
}

/// What the words of an error mean when no status says it.
fn of_words(body: &ErrorBody) -> Option<Code> {
    let code = if body.is(TOO_LONG) || body.says(TOO_LONG_SAYS) {
        Code::ContextTooLong
    } else if body.is(REFUSED) || body.says(REFUSED_SAYS) {
        Code::ContentRefused
    } else if body.is(QUOTA) {
        Code::QuotaExhausted
    } else if body.is(KEY) || body.says(KEY_SAYS) {
        Code::ProviderUnauthorized
    } else if body.is(MODEL) {
        Code::ModelNotFound
    } else if body.is(LIMITED) {
        Code::RateLimited
    } else if body.is(BUSY) {
        Code::ProviderOverloaded
    } else if body.is(REJECTED) {
        Code::ProviderRejected
    } else {
        return None;
    };
    Some(code)
}

/// Why an answer ended, by its `finish_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// It is whole.
    Whole,
    /// It reached the length limit.
    Truncated,
    /// The content filter cut it.
    Refused,
    /// The provider broke off.
    Failed,
}

/// What a `finish_reason` means; what nobody has heard of is an end like any other.
pub(super) fn finish(reason: &str) -> Finish {
    match reason.to_ascii_lowercase().as_str() {
        "length" | "max_tokens" | "model_length" => Finish::Truncated,
        "content_filter" | "content_filtered" | "safety" => Finish::Refused,
        "error" => Finish::Failed,
        _ => Finish::Whole,
    }
}

/// What an error below HTTP means: `began` is whether the reply had begun.
pub(super) fn transport(error: &reqwest::Error, began: bool) -> Code {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(http) = current.downcast_ref::<hyper::Error>()
            && http.is_parse()
        {
            return Code::ProviderGarbled;
        }
        cause = current.source();
    }
    match (began, error.is_timeout() && !error.is_connect()) {
        (true, _) => Code::StreamCut,
        (false, true) => Code::ProviderTimeout,
        (false, false) => Code::ProviderUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(code: &str, message: &str) -> String {
        serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}})
            .to_string()
    }

    #[test]
    fn every_status_and_body_has_its_code() {
        let rows: &[(u16, String, Code)] = &[
            (302, String::new(), Code::ProviderGarbled),
            (400, openai("context_length_exceeded", "too many"), Code::ContextTooLong),
            (400, openai("content_filter", "The response was filtered"), Code::ContentRefused),
            (400, openai("model_not_found", "no such"), Code::ModelNotFound),
            (400, openai("unknown_parameter", "Unknown parameter"), Code::ProviderRejected),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}]"#.into(),
                Code::ProviderUnauthorized,
            ),
            (400, "<html>400</html>".into(), Code::ProviderRejected),
            (401, openai("invalid_api_key", "Incorrect API key"), Code::ProviderUnauthorized),
            (401, String::new(), Code::ProviderUnauthorized),
            (402, r#"{"error":"Insufficient Balance"}"#.into(), Code::QuotaExhausted),
            (403, openai("unsupported_country_region_territory", "x"), Code::ProviderUnauthorized),
            (403, openai("403", "requires moderation and your input was flagged"), Code::ContentRefused),
            (404, openai("model_not_found", "x"), Code::ModelNotFound),
            (404, "404 page not found".into(), Code::ModelNotFound),
            (405, r#"{"detail":"Method Not Allowed"}"#.into(), Code::ModelNotFound),
            (408, String::new(), Code::ProviderTimeout),
            (409, String::new(), Code::ProviderError),
            (413, String::new(), Code::ProviderRejected),
            (
                413,
                r#"{"message":"Input validation error: `inputs` must have less than 512 tokens. Given: 600"}"#.into(),
                Code::ContextTooLong,
            ),
            (415, r#"{"error":{"message":"m","type":"rate_limit_error"}}"#.into(), Code::ProviderRejected),
            (418, String::new(), Code::Unknown),
            (424, "<html>Failed Dependency</html>".into(), Code::Unknown),
            (424, openai("rate_limit_exceeded", "upstream limit"), Code::RateLimited),
            (430, r#"{"error":{"message":"m","type":"overloaded_error"}}"#.into(), Code::ProviderOverloaded),
            (422, r#"{"detail":[{"msg":"Field required"}]}"#.into(), Code::ProviderRejected),
            (451, String::new(), Code::ProviderRejected),
            (429, openai("rate_limit_exceeded", "Rate limit reached"), Code::RateLimited),
            (429, openai("insufficient_quota", "You exceeded your current quota"), Code::QuotaExhausted),
            (429, r#"{"error":{"message":"q","type":"insufficient_quota","code":null}}"#.into(), Code::QuotaExhausted),
            // Gemini says "quota" for an ordinary rate limit.
            (
                429,
                r#"[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}]"#
                    .into(),
                Code::RateLimited,
            ),
            (
                429,
                openai("rate_limit_exceeded", "Request too large for gpt-x on tokens per min: Limit 10, Requested 12"),
                Code::LargerThanBudget,
            ),
            (429, String::new(), Code::RateLimited),
            (500, openai("server_error", "x"), Code::ProviderError),
            (500, r#"{"error":"the request exceeds the available context size"}"#.into(), Code::ContextTooLong),
            (502, "<html>Bad Gateway</html>".into(), Code::ProviderError),
            (503, String::new(), Code::ProviderOverloaded),
            (504, String::new(), Code::ProviderError),
            (520, String::new(), Code::ProviderError),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#.into(),
                Code::ProviderOverloaded,
            ),
        ];
        for (status, body, code) in rows {
            assert_eq!(reply(Some(*status), &ErrorBody::of(body.as_bytes())), *code, "{status} {body}");
        }
    }

    #[test]
    fn a_prompt_that_does_not_fit_is_known_by_the_words_of_every_server() {
        for message in [
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            "the request exceeds the available context size (4096 tokens), try increasing it",
            "input length exceeds the context length",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "Input is too long for requested model.",
            "Please reduce the length of the messages or completion.",
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
            "Invalid 'input': maximum input length is 8192 tokens.",
        ] {
            let body = ErrorBody { message: Some(message.into()), ..ErrorBody::default() };
            assert_eq!(reply(Some(400), &body), Code::ContextTooLong, "{message}");
        }
    }

    #[test]
    fn an_error_inside_a_stream_is_judged_by_its_own_words() {
        let rows = [
            (r#"{"error":{"message":"m","type":"server_error"}}"#, Code::ProviderError),
            (r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, Code::RateLimited),
            (r#"{"error":{"message":"m","type":"insufficient_quota"}}"#, Code::QuotaExhausted),
            (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Code::ProviderOverloaded),
            (r#"{"error":{"message":"m","code":502}}"#, Code::ProviderError),
            (r#"{"error":{"message":"m","code":503}}"#, Code::ProviderOverloaded),
            (r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, Code::ContextTooLong),
            (r#"{"error":{"message":"m","code":"content_filter"}}"#, Code::ContentRefused),
            (r#"{"error":{"message":"m","code":"invalid_api_key"}}"#, Code::ProviderUnauthorized),
            (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, Code::ProviderRejected),
            (r#"{"error":"out of memory"}"#, Code::ProviderError),
        ];
        for (frame, code) in rows {
            assert_eq!(reply(Some(200), &ErrorBody::of(frame.as_bytes())), code, "{frame}");
            assert_eq!(reply(None, &ErrorBody::of(frame.as_bytes())), code, "{frame}");
        }
    }

    #[test]
    fn a_finish_reason_nobody_knows_is_an_end() {
        for (reason, means) in [
            ("stop", Finish::Whole),
            ("eos_token", Finish::Whole),
            ("length", Finish::Truncated),
            ("MAX_TOKENS", Finish::Truncated),
            ("content_filter", Finish::Refused),
            ("error", Finish::Failed),
        ] {
            assert_eq!(finish(reason), means, "{reason}");
        }
    }
}
