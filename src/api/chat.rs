//! `POST /chat`: a question becomes a job.

use std::time::Duration;

use axum::{Extension, extract::State, response::Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    auth::Submitter,
    fields::{COLLECTION, CONVERSATION_ID, Fields, Text},
    input::{Body, Params, idempotency_key},
    problem::{Problem, Result},
    request::Received,
    state::ApiState,
    submit::{Accepted, accepted, idempotency, submit},
};
use crate::{
    config::settings,
    domain::{
        ids::{Collection, JobId, Tenant},
        job::{Kind, NewJob, Priority},
        origin::Origin,
    },
};

/// Most passages a request may ask for.
pub const MAX_TOP_K: u64 = 50;
/// Most attempts a request may ask for.
pub const MAX_ATTEMPTS: u64 = 50;
/// Farthest deadline a request may ask for: 30 days.
pub const MAX_DEADLINE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Largest metadata, in bytes of JSON without white space.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// What is asked; not only white space.
    #[schema(min_length = 1, max_length = 16_000, pattern = r"[^\s\u0000-\u001f\u007f-\u009f]")]
    pub query: String,
    /// Ties questions together: earlier questions and answers are part of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, min_length = 1, max_length = 200, pattern = "^[A-Za-z0-9._:@/-]{1,200}$")]
    pub conversation_id: Option<String>,
    /// Look only in this collection; without it, in all of the caller's documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, value_type = Option<String>, min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9._-]{1,100}$")]
    pub collection: Option<Collection>,
    /// How many passages to answer from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, value_type = Option<u64>, minimum = 1, maximum = 50)]
    pub top_k: Option<u64>,
    /// Who goes first; `normal` if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable)]
    pub priority: Option<Priority>,
    /// How long the job may take altogether, in milliseconds; not said: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 1, maximum = 2_592_000_000_u64)]
    pub deadline_ms: Option<u64>,
    /// How many attempts the job has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, minimum = 1, maximum = 50)]
    pub max_attempts: Option<u64>,
    /// Kept with the job, not looked at; at most 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable, value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

impl ChatRequest {
    /// Reads a question, or tells all that is wrong with it.
    pub fn read(mut fields: Fields, limits: &settings::Api) -> Result<Self> {
        let query = Text::prose(limits.max_query_chars, "must say something");
        let request = Self {
            query: fields.required_text("query", query),
            conversation_id: fields.text("conversation_id", CONVERSATION_ID),
            collection: fields.text("collection", COLLECTION).map(Collection::from),
            top_k: fields.integer("top_k", 1..=MAX_TOP_K),
            priority: fields.word("priority"),
            deadline_ms: fields.integer("deadline_ms", 1..=MAX_DEADLINE_MS),
            max_attempts: fields.integer("max_attempts", 1..=MAX_ATTEMPTS),
            metadata: fields.object("metadata", MAX_METADATA_BYTES),
        };
        fields.finish().map(|()| request)
    }

    /// What the job stores: the request with its kind.
    pub fn payload(&self) -> Result<Value> {
        let mut payload = serde_json::to_value(self).map_err(Problem::internal)?;
        if let Value::Object(members) = &mut payload {
            members.insert("kind".into(), Kind::Chat.as_str().into());
        }
        Ok(payload)
    }

    fn into_job(self, id: JobId, tenant: Tenant, default_attempts: u32) -> Result<NewJob> {
        Ok(NewJob {
            id,
            tenant,
            kind: Kind::Chat,
            priority: self.priority.unwrap_or(Priority::Normal),
            payload: self.payload()?,
            max_attempts: self.max_attempts.map_or(default_attempts, |attempts| attempts as u32),
            deadline: self.deadline_ms.map(Duration::from_millis),
            delay: None,
            idempotency: None,
            conversation_id: self.conversation_id,
            document: None,
            origin: Origin::default(),
        })
    }
}

/// The fields of the request: from the body, or in the older form from the query string; never from both,
/// since a caller who sends both means one of them and can't know which. A body of `{}` or `null`, as some
/// clients send when they have none, says nothing.
fn fields(body: &Body, Params(query): Params) -> Result<Fields> {
    let given = body.optional_fields()?;
    match (given.is_empty(), query.is_empty()) {
        (true, _) => Ok(query),
        (false, true) => Ok(given),
        (false, false) => {
            Err(Problem::field("body", "give the fields in the body or in the query string, not in both"))
        }
    }
}

/// Ask a question
///
/// Stores a job and answers at once. The fields are given as JSON, or, in the older form, as parameters
/// of the query string with an empty body; not as both.
#[utoipa::path(
    post, path = "/chat", tag = "questions", operation_id = "ask",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request find the first one's job; bare or a quoted string")),
    request_body(content = ChatRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "The job is stored", body = Accepted),
        (status = 429, description = "Over the rate of this key"),
    ),
    security(("api_key" = [])),
)]
pub async fn ask(
    State(state): State<ApiState>,
    Submitter { tenant }: Submitter,
    Extension(received): Extension<Received>,
    headers: HeaderMap,
    query: Params,
    body: Body,
) -> Result<Response> {
    let request = ChatRequest::read(fields(&body, query)?, &state.api)?;
    let key = idempotency_key(&headers)?;
    let mut job = request.into_job(received.job_id, tenant, state.queue.max_attempts)?;
    job.idempotency = idempotency(key, &job.payload);
    let stored = submit(&state, &received, job).await?;
    Ok(accepted(stored, Accepted::of(stored.id)))
}
