//! Errors as callers see them: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! A [`Problem`] travels in the response's extensions; [`super::request`] writes its body, because only
//! there is the request id known, and logs the error behind a 5xx, once. What is inside never shows.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    domain::failure::{Failure, chain},
    queue::StoreError,
};

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong with a request: a closed set of stable words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl utoipa::PartialSchema for ProblemCode {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                crate::domain::schema::one_of(Self::ALL.iter().map(|word| word.as_str()))
            }
        }
        impl utoipa::ToSchema for ProblemCode {}

        impl ProblemCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word in `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// The same words for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

problems! {
    /// The body is not JSON.
    InvalidJson = "invalid_json", BAD_REQUEST, "The body is not valid JSON";
    /// The body is not well-formed multipart.
    InvalidMultipart = "invalid_multipart", BAD_REQUEST, "The body is not valid multipart/form-data";
    /// The request can't be read at all.
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request is malformed";
    /// The id is not a ULID.
    MalformedJobId = "malformed_job_id", BAD_REQUEST, "The job id is malformed";
    /// The event number is not a number.
    MalformedEventId = "malformed_event_id", BAD_REQUEST, "The event number is malformed";
    /// No key or token, or a wrong one.
    Unauthorized = "unauthorized", UNAUTHORIZED, "Authentication is required";
    /// No such route.
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    /// No such job of the caller.
    JobNotFound = "job_not_found", NOT_FOUND, "There is no such job";
    /// No such document of the caller.
    DocumentNotFound = "document_not_found", NOT_FOUND, "There is no such document";
    /// The document has not been ingested yet.
    DocumentNotReady = "document_not_ready", NOT_FOUND, "The document has not been ingested yet";
    /// No such dead letter.
    DeadLetterNotFound = "dead_letter_not_found", NOT_FOUND, "There is no such dead letter";
    /// The route does not know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The document changed between two pages.
    DocumentChanged = "document_changed", CONFLICT, "The document has changed since the first page";
    /// The body is over the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is of a type that the route does not read.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not supported";
    /// One or more fields are wrong.
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "The request is not valid";
    /// Every uploaded file was refused.
    AllRefused = "all_refused", UNPROCESSABLE_ENTITY, "Every file was refused";
    /// The idempotency key stands for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// The caller sends too fast.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// A defect of ragq.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// The queue is at its limit.
    QueueFull = "queue_full", SERVICE_UNAVAILABLE, "The queue is full";
    /// The job store does not answer.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "The job store is unavailable";
    /// The passage index does not answer.
    IndexUnavailable = "index_unavailable", SERVICE_UNAVAILABLE, "The passage index is unavailable";
    /// The process is ending.
    Draining = "draining", SERVICE_UNAVAILABLE, "The process is shutting down";
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's, parameter's, header's or file's name.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    code: ProblemCode,
    detail: String,
    errors: Vec<FieldError>,
    items: Option<Value>,
    done: Option<u64>,
    headers: HeaderMap,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The body of every error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Identifies the kind of problem: `urn:ragq:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    type_: String,
    /// The kind of problem in words.
    title: &'a str,
    /// The HTTP status.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// A stable word to act on.
    code: ProblemCode,
    /// The id to ask about, also in the header `x-request-id` and in the logs.
    request_id: &'a str,
    /// All that is wrong with the request.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
    /// Per file why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<super::documents::UploadItem>, required = false, nullable = false)]
    items: Option<&'a Value>,
    /// To how many an operator's action was done before it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, minimum = 1)]
    done: Option<u64>,
}

/// What handlers answer.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    /// A problem with what happened this time.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let (errors, headers) = (Vec::new(), HeaderMap::new());
        Self(Box::new(Parts { code, detail: detail.into(), errors, items: None, done: None, headers, source: None }))
    }

    /// Wrong fields, all of them.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            several => format!("{} fields are wrong", several.len()),
        };
        let mut problem = Self::new(ProblemCode::ValidationFailed, detail);
        problem.0.errors = errors;
        problem
    }

    /// One wrong field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::validation(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// A defect of ragq: the cause goes to the log only.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ProblemCode::Internal, "something went wrong inside ragq; the log has it under this request id")
            .caused_by(source)
    }

    /// The queue has no room.
    pub fn queue_full(retry_after: Duration) -> Self {
        Self::new(ProblemCode::QueueFull, "the queue is at its limit; try again later").retry_after(retry_after)
    }

    /// The same with the per-file outcome.
    #[must_use]
    pub fn with_items(mut self, items: Value, errors: Vec<FieldError>) -> Self {
        self.0.items = Some(items);
        self.0.errors = errors;
        self
    }

    /// The same for an action that was done to so many before it failed.
    #[must_use]
    pub fn after(mut self, done: u64) -> Self {
        if done > 0 {
            self.0.detail.push_str(&format!("; it was done to {done} before that"));
            self.0.done = Some(done);
        }
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same with the time to wait, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, whole_seconds(wait).into())
    }

    fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The stable word.
    pub const fn code(&self) -> ProblemCode {
        self.0.code
    }

    /// What happened this time.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The error behind it with its own causes, for the log.
    pub fn cause(&self) -> Option<String> {
        self.0.source.as_deref().map(|source| chain(source))
    }

    /// The body for the request `request_id`.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            type_: format!("urn:ragq:problem:{}", self.0.code.as_str()),
            title: self.0.code.title(),
            status: self.0.code.status().as_u16(),
            detail: &self.0.detail,
            code: self.0.code,
            request_id,
            errors: &self.0.errors,
            items: self.0.items.as_ref(),
            done: self.0.done,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// A wait in whole seconds, rounded up, at least one: what `Retry-After` can say.
pub fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let wait = Duration::from_secs(1);
        match error {
            StoreError::Unavailable(_) => {
                Self::new(ProblemCode::StoreUnavailable, "the job store does not answer; try again")
                    .retry_after(wait)
                    .caused_by(error)
            }
            StoreError::Closed => {
                Self::new(ProblemCode::Draining, "the process is shutting down; try again").retry_after(wait)
            }
        }
    }
}

impl From<Failure> for Problem {
    /// A failure of the passage index; the API asks nothing else that fails so.
    fn from(failure: Failure) -> Self {
        Self::new(ProblemCode::IndexUnavailable, "the passage index does not answer; try again")
            .retry_after(failure.retry_after.unwrap_or(Duration::from_secs(1)))
            .caused_by(failure)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        response.headers_mut().extend(self.0.headers.clone());
        response.extensions_mut().insert(self);
        response
    }
}
