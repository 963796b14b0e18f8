//! Turns accepted requests into jobs, and what became of them into answers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument as _;
use utoipa::ToSchema;

use super::{
    problem::{Problem, ProblemCode, Result},
    request::Received,
    state::ApiState,
};
use crate::{
    domain::{
        ids::JobId,
        job::{Idempotency, NewJob, Status, Submitted},
        origin::Origin,
    },
    telemetry::traces,
};

/// A stored job.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Its id.
    pub id: JobId,
    /// Whether an earlier request stored it.
    pub replayed: bool,
}

/// Tells the request's line in the log which job came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForLog(pub(super) JobId);

/// A job was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// The job's id.
    pub job_id: JobId,
    /// Always `queued`: what it is by now, `status_url` tells.
    #[schema(value_type = String, pattern = "^queued$")]
    pub status: Status,
    /// Where its state can be read.
    pub status_url: String,
    /// Where its events can be followed.
    pub events_url: String,
}

/// Where a job's state can be read.
pub fn status_url(id: JobId) -> String {
    format!("/job-status?job_id={id}")
}

impl Accepted {
    /// The answer for a job.
    pub fn of(id: JobId) -> Self {
        Self {
            job_id: id,
            status: Status::Queued,
            status_url: status_url(id),
            events_url: format!("/jobs/{id}/events"),
        }
    }
}

/// 202 with where to look and when; a repeated request is told so.
pub fn accepted(stored: Stored, body: impl Serialize) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    response.extensions_mut().insert(ForLog(stored.id));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&status_url(stored.id)) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    if stored.replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// Stores a job that `request` makes.
pub async fn submit(state: &ApiState, request: &Received, mut job: NewJob) -> Result<Stored> {
    let span = traces::submit(job.kind);
    let context = traces::context_of(&span).unwrap_or(request.context);
    job.origin = Origin::new(job.id, &request.id, context);
    let stored = store(state, job).instrument(span.clone()).await;
    stored
        .inspect(|stored| traces::stored(&span, stored.id))
        .inspect_err(|problem| traces::failed(&span, problem.code().as_str()))
}

async fn store(state: &ApiState, job: NewJob) -> Result<Stored> {
    match state.store.submit(job).await? {
        Submitted::Accepted(id) => Ok(Stored { id, replayed: false }),
        Submitted::Replayed(id) => Ok(Stored { id, replayed: true }),
        Submitted::IdempotencyMismatch => Err(Problem::new(
            ProblemCode::IdempotencyKeyReused,
            "this Idempotency-Key was used with another request; use a new key for a new request",
        )),
        Submitted::QueueFull { retry_after } => Err(Problem::queue_full(retry_after)),
    }
}

/// What an idempotency key stands for: the parsed request, so that white space and the order of members don't
/// matter.
pub fn idempotency(key: Option<String>, request: &Value) -> Option<Idempotency> {
    key.map(|key| {
        let mut hash = blake3::Hasher::new();
        canonical(request, &mut hash);
        Idempotency { key, fingerprint: hash.finalize().to_hex().to_string() }
    })
}

/// Writes a value in one form only: members by name, every part with its length.
fn canonical(value: &Value, hash: &mut blake3::Hasher) {
    let mut part = |tag: &[u8], text: &str| {
        hash.update(tag).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    match value {
        Value::Null => part(b"z", ""),
        Value::Bool(yes) => part(b"b", if *yes { "1" } else { "0" }),
        Value::Number(number) => part(b"n", &number.to_string()),
        Value::String(text) => part(b"s", text),
        Value::Array(items) => {
            part(b"a", &items.len().to_string());
            for item in items {
                canonical(item, hash);
            }
        }
        Value::Object(members) => {
            part(b"o", &members.len().to_string());
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            for (name, member) in sorted {
                hash.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
                canonical(member, hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(value: &Value) -> String {
        idempotency(Some("k".into()), value).unwrap().fingerprint
    }

    #[test]
    fn the_fingerprint_knows_no_order_but_every_difference() {
        let a: Value = serde_json::from_str(r#"{"a":1,"b":{"c":[1,"x"],"d":null}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{ "b":{"d":null,"c":[1,"x"]}, "a":1 }"#).unwrap();
        assert_eq!(print(&a), print(&b));
        for other in [
            json!({"a":1,"b":{"c":["x",1],"d":null}}),
            json!({"a":"1","b":{"c":[1,"x"],"d":null}}),
            json!({"a":1,"b":{"c":[1,"x"]}}),
        ] {
            assert_ne!(print(&a), print(&other), "{other}");
        }
    }
}
