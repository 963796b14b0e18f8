//! How requests are taken apart: path, query string, body, headers. Each refusal is a [`Problem`].

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    fields::{DOCUMENT_ID, Fields},
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};
use crate::domain::{
    ids::{DocumentId, JobId},
    origin::TraceContext,
};

async fn path_text(parts: &mut Parts, state: &ApiState) -> Result<String> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::new(ProblemCode::MalformedRequest, "the path can't be decoded"))?;
    Ok(text)
}

/// Reads a job id.
pub fn job_id(text: &str) -> Result<JobId> {
    text.parse().map_err(|error: crate::domain::ids::MalformedJobId| {
        Problem::new(ProblemCode::MalformedJobId, error.to_string())
    })
}

/// The job id in the path.
pub struct JobPath(pub JobId);

impl FromRequestParts<ApiState> for JobPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        job_id(&path_text(parts, state).await?).map(Self)
    }
}

/// The name of a file of the page, in the path.
pub struct PartPath(pub String);

impl FromRequestParts<ApiState> for PartPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        path_text(parts, state).await.map(Self)
    }
}

/// The document id in the path.
pub struct DocumentPath(pub DocumentId);

impl FromRequestParts<ApiState> for DocumentPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        let text = path_text(parts, state).await?;
        // An id that can't be submitted belongs to no document.
        if text.len() > DOCUMENT_ID.max_chars || !(DOCUMENT_ID.fits)(&text) {
            return Err(super::documents::not_found());
        }
        Ok(Self(text.into()))
    }
}

/// The parameters of the query string.
pub struct Params(pub Fields);

impl FromRequestParts<ApiState> for Params {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        let malformed =
            || Problem::new(ProblemCode::MalformedRequest, "the query string is not UTF-8, percent-encoded");
        // The extractor would put replacement characters for what it can't decode: another question, silently.
        percent_decode_str(parts.uri.query().unwrap_or_default()).decode_utf8().map_err(|_| malformed())?;
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|_| malformed())?;
        Ok(Self(Fields::of_query(pairs)))
    }
}

/// The refusal of a body over the limit.
pub fn too_large(limit: u64) -> Problem {
    Problem::new(ProblemCode::BodyTooLarge, format!("a body may have {limit} bytes"))
}

/// Refuses a body that says itself that it can't be taken, before any of it is read: it is over the limit, or
/// compressed, which would be taken for damaged.
pub fn check_head(headers: &HeaderMap, state: &ApiState) -> Result<()> {
    let plain = |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, "send the body without Content-Encoding"));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = state.api.max_body_bytes;
    if length.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

/// A whole body within the limit.
pub struct Body {
    content_type: Option<String>,
    bytes: Bytes,
}

impl FromRequest<ApiState> for Body {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self> {
        check_head(request.headers(), state)?;
        let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
        });
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(error) if error.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
                too_large(state.api.max_body_bytes)
            }
            _ => Problem::new(ProblemCode::MalformedRequest, "the body could not be read to its end"),
        })?;
        Ok(Self { content_type, bytes })
    }
}

impl Body {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The body as JSON. A syntax error is told by place only: what is there is the caller's own affair.
    pub fn json(&self) -> Result<Value> {
        let is_json = |name: &str| name == "application/json" || name.ends_with("+json");
        if !self.content_type.as_deref().is_some_and(is_json) {
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, "send \"Content-Type: application/json\""));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let what = if error.is_eof() { "the JSON ends too early" } else { "the body is not valid JSON" };
            Problem::new(ProblemCode::InvalidJson, format!("{what}: {place}"))
        })
    }

    /// The fields of the body; none at all if there is no body, or it says null.
    pub fn optional_fields(&self) -> Result<Fields> {
        match if self.is_empty() { Value::Null } else { self.json()? } {
            Value::Null => Ok(Fields::of_query(Vec::new())),
            body => Fields::of_json(body),
        }
    }
}

/// The header `Idempotency-Key`, bare or a quoted string: 1 to 255 printable ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    const NAME: &str = "Idempotency-Key";
    let mut given = headers.get_all(NAME).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Problem::field(NAME, "is given more than once"));
    }
    let text = value.to_str().unwrap_or_default();
    let key = match text.strip_prefix('"') {
        None => Some(text.to_owned()),
        Some(rest) => rest.strip_suffix('"').and_then(unescape),
    };
    let printable = |key: &String| (1..=255).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b));
    match key.filter(printable) {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::field(NAME, "must be 1 to 255 printable ASCII characters, bare or as a quoted string")),
    }
}

/// The inside of a quoted string (RFC 9651): a backslash stands before a quote or a backslash only.
fn unescape(inside: &str) -> Option<String> {
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            _ => text.push(c),
        }
    }
    Some(text)
}

/// The W3C trace context of the request, if it is well formed.
pub fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value.parse().unwrap());
        idempotency_key(&headers).ok().flatten()
    }

    #[test]
    fn an_idempotency_key_is_the_same_bare_and_quoted() {
        assert_eq!(key("abc-1").as_deref(), Some("abc-1"));
        assert_eq!(key("\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(key(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
    }

    #[test]
    fn empty_unclosed_overlong_and_unprintable_idempotency_keys_are_refused() {
        for bad in ["", "\"\"", "\"", "\"open", "\"a\"b\"", r#""a\b""#, "a\tb", &"x".repeat(256)] {
            assert_eq!(key(bad), None, "{bad:?}");
        }
        assert!(key(&"x".repeat(255)).is_some());
    }
}
