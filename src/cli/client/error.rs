//! Why a call to the API failed, said as people read it.

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::cli::exit::Exit;

/// A call to the API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error(
        "no API answers at {url}: {reason}\nIs it running? `ragq up` starts one; RAGQ_URL or --url says where it is."
    )]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The connection was lost, or the answer did not come in time: the API may or may not have acted.
    #[error("the connection to the API at {url} was lost: {reason}")]
    Interrupted {
        /// Where.
        url: String,
        /// How.
        reason: String,
    },
    /// The API said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// What answers is not what the contract says.
    #[error("what answers at {url} is not ragq's API: {reason}")]
    Garbled {
        /// Where.
        url: String,
        /// What was wrong.
        reason: String,
    },
    /// The client could not be built.
    #[error("the HTTP client can't be set up: {0}")]
    Setup(String),
}

impl ClientError {
    /// The exit code it ends a command with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => Exit::Unavailable,
            Self::Refused(problem) => match problem.status {
                StatusCode::UNAUTHORIZED => Exit::Usage,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    Exit::Unavailable
                }
                _ => Exit::Failed,
            },
            Self::Garbled { .. } | Self::Setup(_) => Exit::Failed,
        }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Garbled { .. } | Self::Setup(_) => None,
        }
    }

    /// The failure of a request that got no answer.
    pub(super) fn of_transport(url: &str, error: &reqwest::Error) -> Self {
        let (url, reason) = (url.to_owned(), root_cause(error));
        if error.is_connect() { Self::Unreachable { url, reason } } else { Self::Interrupted { url, reason } }
    }
}

/// The innermost reason: the layers above it only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A refusal as the API words it (RFC 9457).
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What kind of thing is wrong.
    pub title: String,
    /// What is wrong this time.
    pub detail: String,
    /// The stable word for it; empty if something before the API answered.
    pub code: String,
    /// What to name when asking the operator.
    pub request_id: String,
    /// Fields of the request that are wrong.
    pub errors: Vec<FieldError>,
    /// To how many something was done before it failed.
    pub done: u64,
    /// How long the API asks to wait.
    pub retry_after: Option<Duration>,
}

/// One field that is wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct FieldError {
    /// Which.
    #[serde(default)]
    pub field: String,
    /// Why.
    #[serde(default)]
    pub message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    title: String,
    detail: String,
    code: String,
    request_id: String,
    errors: Vec<FieldError>,
    done: u64,
}

impl Problem {
    /// Reads a refusal; a body that is no problem document (a proxy's page) leaves the status to speak.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let body: Body = serde_json::from_str(body).unwrap_or_default();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = if body.request_id.is_empty() { text("x-request-id").unwrap_or("") } else { &body.request_id };
        Self {
            status,
            request_id: request_id.to_owned(),
            title: if body.title.is_empty() {
                status.canonical_reason().unwrap_or("refused").to_owned()
            } else {
                body.title
            },
            detail: body.detail,
            code: body.code,
            errors: body.errors,
            done: body.done,
            retry_after: text("retry-after").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs),
        }
    }

    /// Whether it refuses what was named, and not the caller: another id may fare better.
    pub fn is_about_this_one(&self) -> bool {
        matches!(
            self.status,
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
        )
    }

    /// What is wrong, on one line.
    pub fn summary(&self) -> String {
        let mut text = if self.detail.is_empty() { self.title.clone() } else { self.detail.clone() };
        for error in &self.errors {
            let said = text.contains(&error.message);
            if !said {
                text = format!("{text}; {}: {}", error.field, error.message);
            }
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() && self.detail != self.title {
            write!(f, ": {}", self.detail)?;
        }
        write!(f, " ({}", self.status.as_u16())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")?;
        if self.code.is_empty() {
            // A proxy's page, or another program at this address.
            f.write_str("\n  this is not ragq's own answer: is RAGQ_URL or --url the address of its API?")?;
        }
        // A single wrong field is mostly what the detail says already.
        for error in self.errors.iter().filter(|error| !self.detail.contains(&error.message)) {
            write!(f, "\n  {}: {}", error.field, error.message)?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, "\n  try again in {} s", wait.as_secs())?;
        }
        if self.status == StatusCode::UNAUTHORIZED {
            f.write_str("\n  RAGQ_API_KEY holds the caller's key, RAGQ_ADMIN_TOKEN the operator's token")?;
        }
        if !self.request_id.is_empty() {
            write!(f, "\n  request id: {}", self.request_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_as_title_detail_fields_and_request_id() {
        let body = r#"{"title":"Invalid request","status":422,"detail":"2 fields are wrong","code":"invalid",
            "request_id":"r-1","errors":[{"field":"query","message":"is empty"}],"new":1}"#;
        let problem = Problem::read(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body);
        assert_eq!(
            problem.to_string(),
            "Invalid request: 2 fields are wrong (422 invalid)\n  query: is empty\n  request id: r-1"
        );
        assert_eq!(problem.summary(), "2 fields are wrong; query: is empty");
    }

    #[test]
    fn what_the_detail_says_is_not_said_again_for_the_field() {
        let body = r#"{"title":"Invalid","detail":"query: must say something","code":"invalid","request_id":"r",
            "errors":[{"field":"query","message":"must say something"},{"field":"top_k","message":"is too large"}]}"#;
        let problem = Problem::read(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body);
        assert_eq!(
            problem.to_string(),
            "Invalid: query: must say something (422 invalid)\n  top_k: is too large\n  request id: r"
        );
    }

    #[test]
    fn a_page_of_a_proxy_leaves_the_status_to_speak() {
        let problem = Problem::read(StatusCode::BAD_GATEWAY, &HeaderMap::new(), "<html>oops</html>");
        assert_eq!(
            problem.to_string(),
            "Bad Gateway (502)\n  this is not ragq's own answer: is RAGQ_URL or --url the address of its API?"
        );
        assert_eq!(ClientError::Refused(Box::new(problem)).exit(), Exit::Unavailable);
    }
}
