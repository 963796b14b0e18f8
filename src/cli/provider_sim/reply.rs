//! Replies that are no stream of tokens: errors as `OpenAI` words them, and JSON, whole or broken by a fault.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    fault::{Fault, Happening},
    limits::{OverLimit, Standing},
    sim::{Call, Refusal},
};

/// What is sent before a connection is cut has so long to travel.
pub(super) const BEFORE_CUT: Duration = Duration::from_millis(20);

/// An error in the shape that clients expect.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = match status.as_u16() {
        500.. => "server_error",
        // Others are refusals that gateways make up.
        400 | 401 | 403 | 404 | 409 | 413 | 422 | 429 => "invalid_request_error",
        _ => "gateway_error",
    };
    let body = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    (status, axum::Json(body)).into_response()
}

/// The reply to a call that is refused.
pub(super) fn refused(mut call: Call, refusal: &Refusal) -> Response {
    let mut response = match refusal {
        Refusal::Key => error(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided."),
        Refusal::Fault(fault) => by_fault(fault),
        Refusal::Limit(OverLimit::TooLarge { limit }) => error(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_exceeded",
            &format!("Request too large for the limit on tokens per minute: Limit {limit}."),
        ),
        Refusal::Limit(OverLimit::Wait(wait)) => {
            let message = format!("Rate limit reached. Please try again in {:.3}s.", wait.as_secs_f64());
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", &message);
            wait_for(response.headers_mut(), *wait);
            response
        }
    };
    standing(response.headers_mut(), call.standing());
    call.replied(response.status().as_u16());
    call.over();
    response
}

fn by_fault(fault: &Fault) -> Response {
    let (status, code, message) = match fault.happening {
        Happening::Quota => (429, "insufficient_quota", "You exceeded your current quota."),
        Happening::Status(status) => match status {
            401 => (status, "invalid_api_key", "Incorrect API key provided."),
            403 => (status, "permission_denied", "The key may not do this."),
            404 => (status, "model_not_found", "The model does not exist."),
            413 => (status, "request_too_large", "The request is too large."),
            429 => (status, "rate_limit_exceeded", "Rate limit reached."),
            503 | 529 => (status, "server_overloaded", "The server is overloaded."),
            400 | 409 | 422 => (status, "invalid_request", "The request is refused."),
            ..500 => (status, "gateway_error", "The gateway refuses the request."),
            _ => (status, "server_error", "The server had an error."),
        },
        // These do not refuse.
        Happening::Stall | Happening::Cut | Happening::Garbage => (500, "server_error", "The server had an error."),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error(status, code, message);
    if let Some(seconds) = fault.retry_after {
        wait_for(response.headers_mut(), Duration::from_secs_f64(seconds));
    }
    response
}

/// In both forms: whole seconds, which round up, and milliseconds.
fn wait_for(headers: &mut HeaderMap, wait: Duration) {
    headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
    let milliseconds = (wait.as_secs_f64() * 1e3).ceil() as u64;
    headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(milliseconds));
}

/// The `x-ratelimit-*` headers of the limits there are.
pub(super) fn standing(headers: &mut HeaderMap, [requests, tokens]: [Option<Standing>; 2]) {
    const REQUESTS: [&str; 3] =
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
    const TOKENS: [&str; 3] = ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
    for ([limit, remaining, reset], standing) in [(REQUESTS, requests), (TOKENS, tokens)] {
        let Some(standing) = standing else { continue };
        headers.insert(HeaderName::from_static(limit), HeaderValue::from(standing.limit));
        headers.insert(HeaderName::from_static(remaining), HeaderValue::from(standing.remaining));
        if let Ok(seconds) = HeaderValue::from_str(&format!("{:.3}s", standing.reset.as_secs_f64())) {
            headers.insert(HeaderName::from_static(reset), seconds);
        }
    }
}

/// A successful reply with this JSON, or with what a fault makes of it.
pub(super) fn whole(mut call: Call, body: &Value, fault: Option<&Fault>) -> Response {
    call.replied(200);
    let limits = call.standing();
    let text = body.to_string();
    let half = text.len() / 2;
    let body = match fault.map(|fault| fault.happening) {
        None | Some(Happening::Status(_) | Happening::Quota) => {
            call.over();
            Body::from(text)
        }
        Some(Happening::Garbage) => {
            call.over();
            Body::from(text.into_bytes()[..half].to_vec())
        }
        Some(happening @ (Happening::Stall | Happening::Cut)) => {
            let begun = Bytes::from(text.into_bytes()).slice(..half);
            let rest = async move {
                broken(&mut call, happening).await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            };
            Body::from_stream(stream::once(async { Ok(begun) }).chain(stream::once(rest)))
        }
    };
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    standing(response.headers_mut(), limits);
    response
}

/// The time until the connection of a broken reply is to end.
pub(super) async fn broken(call: &mut Call, happening: Happening) {
    if happening == Happening::Stall {
        call.silence().await;
    } else {
        tokio::time::sleep(BEFORE_CUT).await;
    }
    call.over();
}
