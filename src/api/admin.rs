//! The operator's routes: the queue in figures, pause and resume, dead letters.

use std::{collections::BTreeMap, str::FromStr};

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    auth::Admin,
    chat::ChatRequest,
    deeds::{Deed, Progress},
    fields::Fields,
    input::{Body, JobPath, Params},
    lists::{PageRequest, sealed},
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
    submit::{Accepted, Stored, accepted},
};
use crate::{
    domain::{
        audit::AdminAction,
        failure::Code,
        ids::JobId,
        job::{DeadLetter, DeadReason, Kind, Status},
    },
    gate::BreakerView,
    queue::{DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, KindStats, Page, Replay, WorkerView},
};

/// The kinds that can be paused; replays run even while the queue is paused.
pub const PAUSABLE: [Kind; 2] = [Kind::Chat, Kind::Ingest];

/// The queue in figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// Jobs per state, all states present.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<&'static str, u64>,
    /// Queued plus due.
    pub backlog: u64,
    /// Jobs in flight.
    pub running: u64,
    /// Age of the job that has been queued longest, in milliseconds.
    pub oldest_queued_age_ms: Option<u64>,
    /// Each kind by itself, at the same moment.
    #[schema(value_type = BTreeMap<String, KindStats>)]
    pub kinds: BTreeMap<Kind, KindStats>,
    /// Kinds that are not handed out.
    pub paused: Vec<Kind>,
    /// The workers heard of within their lease.
    pub workers: Vec<WorkerView>,
    /// The circuit breakers before the providers.
    pub breakers: Vec<BreakerView>,
}

/// Read the queue in figures
#[utoipa::path(
    get, path = "/admin/queue", tag = "operator", operation_id = "queue_stats",
    responses((status = 200, description = "The queue", body = QueueView)),
    security(("admin_token" = [])),
)]
pub async fn queue(State(state): State<ApiState>, _: Admin, Params(params): Params) -> Result<Json<QueueView>> {
    params.finish()?;
    let figures = state.store.stats().await?;
    let count = |status: &Status| (status.as_str(), figures.counts.get(status).copied().unwrap_or(0));
    Ok(Json(QueueView {
        counts: Status::ALL.iter().map(count).collect(),
        backlog: figures.backlog,
        running: figures.running,
        oldest_queued_age_ms: figures.oldest_queued_age_ms,
        kinds: figures.kinds.into_iter().collect(),
        paused: figures.paused,
        workers: figures.workers,
        breakers: state.health.breakers(),
    }))
}

/// Which kinds of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KindsRequest {
    /// The kinds; all that can be paused, if not said.
    #[schema(nullable, value_type = Option<Vec<PausableKind>>, min_items = 1)]
    kinds: Option<Vec<Kind>>,
}

/// A kind that can be paused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PausableKind {
    /// Answers a question.
    Chat,
    /// Takes in, replaces or deletes a document.
    Ingest,
}

/// What is paused now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paused {
    /// Kinds that are not handed out.
    pub paused: Vec<Kind>,
}

/// A kind that can be paused.
pub fn pausable(value: &Value) -> Option<Kind> {
    Kind::from_str(value.as_str()?).ok().filter(|kind| PAUSABLE.contains(kind))
}

fn kinds(body: &Body) -> Result<Vec<Kind>> {
    let mut fields = body.optional_fields()?;
    let kinds = match fields.any("kinds") {
        None => Some(PAUSABLE.to_vec()),
        Some(Value::Array(given)) if !given.is_empty() => given.iter().map(pausable).collect(),
        Some(_) => None,
    };
    if kinds.is_none() {
        fields.fail("kinds", "must be a list of at least one of chat, ingest");
    }
    fields.finish()?;
    Ok(kinds.unwrap_or_default())
}

fn list(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// Pause the queue
///
/// Jobs are still accepted, but those of these kinds are not handed to workers, until resumed.
#[utoipa::path(
    post, path = "/admin/queue/pause", tag = "operator", operation_id = "pause_queue",
    request_body(content = Option<KindsRequest>, content_type = "application/json"),
    responses((status = 200, description = "What is paused now", body = Paused)),
    security(("admin_token" = [])),
)]
pub async fn pause(
    State(state): State<ApiState>,
    admin: Admin,
    Params(params): Params,
    body: Body,
) -> Result<Json<Paused>> {
    params.finish()?;
    let kinds = kinds(&body)?;
    let deed = Deed::new(AdminAction::PauseQueue).to(list(&kinds));
    let pausing = |state: ApiState, progress: Progress| async move {
        state.store.pause(&kinds).await?;
        progress.add(kinds.len() as u64);
        Ok(())
    };
    admin.does(&state, deed, pausing).await?;
    Ok(Json(Paused { paused: state.store.stats().await?.paused }))
}

/// Resume the queue
#[utoipa::path(
    post, path = "/admin/queue/resume", tag = "operator", operation_id = "resume_queue",
    request_body(content = Option<KindsRequest>, content_type = "application/json"),
    responses((status = 200, description = "What is paused now", body = Paused)),
    security(("admin_token" = [])),
)]
pub async fn resume(
    State(state): State<ApiState>,
    admin: Admin,
    Params(params): Params,
    body: Body,
) -> Result<Json<Paused>> {
    params.finish()?;
    let kinds = kinds(&body)?;
    let deed = Deed::new(AdminAction::ResumeQueue).to(list(&kinds));
    let resuming = |state: ApiState, progress: Progress| async move {
        state.store.resume(&kinds).await?;
        progress.add(kinds.len() as u64);
        Ok(())
    };
    admin.does(&state, deed, resuming).await?;
    Ok(Json(Paused { paused: state.store.stats().await?.paused }))
}

/// Dead letters with their causes.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetters {
    /// The page, newest first.
    pub items: Vec<DeadLetter>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<String>,
    /// The causes of all that match, not only of the page, largest first.
    pub groups: Vec<DeadLetterGroup>,
}

/// Reads which dead letters are meant.
pub fn letter_filter(params: &mut Fields) -> DeadLetterFilter {
    let code = params.any("code").map(|value| serde_json::from_value::<Code>(value).ok());
    if code == Some(None) {
        params.fail("code", "is not a code that jobs fail with");
    }
    DeadLetterFilter { reason: params.word("reason"), code: code.flatten(), kind: params.word("kind") }
}

/// List dead letters
#[utoipa::path(
    get, path = "/admin/dlq", tag = "operator", operation_id = "list_dead_letters",
    params(
        ("reason" = Option<DeadReason>, Query, description = "Died for this reason"),
        ("code" = Option<Code>, Query, description = "With this code"),
        ("kind" = Option<Kind>, Query, description = "Of this kind"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 500, description = "Most items; 50 if not said"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of the page before"),
    ),
    responses((status = 200, description = "A page", body = DeadLetters)),
    security(("admin_token" = [])),
)]
pub async fn dead_letters(
    State(state): State<ApiState>,
    _: Admin,
    Params(mut params): Params,
) -> Result<Json<DeadLetters>> {
    let filter = letter_filter(&mut params);
    let PageRequest { limit, cursor } = PageRequest::read(&mut params);
    params.finish()?;
    let page = state.store.dead_letters(&filter, cursor.as_deref(), limit).await?;
    let groups = state.store.dead_letter_groups(&filter).await?;
    let Page { items, next_cursor } = sealed(page);
    Ok(Json(DeadLetters { items, next_cursor, groups }))
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::DeadLetterNotFound, "no dead letter has that id (any more)")
}

async fn letter(state: &ApiState, id: JobId) -> Result<DeadLetterDetail> {
    state.store.dead_letter(id).await?.ok_or_else(not_found)
}

/// Read one dead letter with its payload and every attempt
#[utoipa::path(
    get, path = "/admin/dlq/{id}", tag = "operator", operation_id = "get_dead_letter",
    params(("id" = JobId, Path, description = "The job's id")),
    responses((status = 200, description = "The dead letter", body = DeadLetterDetail), (status = 404, description = "No such dead letter")),
    security(("admin_token" = [])),
)]
pub async fn dead_letter(
    State(state): State<ApiState>,
    _: Admin,
    JobPath(id): JobPath,
    Params(params): Params,
) -> Result<Json<DeadLetterDetail>> {
    params.finish()?;
    letter(&state, id).await.map(Json)
}

/// Discard a dead letter for good
#[utoipa::path(
    delete, path = "/admin/dlq/{id}", tag = "operator", operation_id = "discard_dead_letter",
    params(("id" = JobId, Path, description = "The job's id")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such dead letter")),
    security(("admin_token" = [])),
)]
pub async fn discard(
    State(state): State<ApiState>,
    admin: Admin,
    JobPath(id): JobPath,
    Params(params): Params,
) -> Result<StatusCode> {
    params.finish()?;
    let discarding = move |state: ApiState, progress: Progress| async move {
        let was = state.store.discard(id).await?;
        progress.add(u64::from(was));
        Ok(was)
    };
    let was = admin.does(&state, Deed::new(AdminAction::DiscardLetter).to(id.to_string()), discarding).await?;
    if was { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

/// How a dead letter is replayed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// What is to be done instead: for a question the JSON of `POST /chat`. A document's job has none to edit.
    #[schema(nullable)]
    payload: Option<ChatRequest>,
}

/// The edited payload, checked as one of the letter's kind.
fn edited(payload: Value, kind: Kind, state: &ApiState) -> Result<Value> {
    let mut fields = match payload {
        Value::Object(members) => Fields::of_object(members),
        _ => return Err(Problem::field("payload", "must be a JSON object")),
    };
    match kind {
        Kind::Chat => {
            // Dead letters are shown with their kind in the payload; so they may come back.
            if fields.any("kind").is_some_and(|given| given != Kind::Chat.as_str()) {
                fields.fail("kind", "must stay chat");
            }
            ChatRequest::read(fields, &state.api)?.payload()
        }
        Kind::Ingest | Kind::Replay => {
            Err(Problem::field("payload", format!("can't be edited for a job of kind {kind}: submit it anew")))
        }
    }
}

/// Replay a dead letter
///
/// The job is queued again under its id, attempts start again, optionally with an edited payload.
#[utoipa::path(
    post, path = "/admin/dlq/{id}/replay", tag = "operator", operation_id = "replay_dead_letter",
    params(("id" = JobId, Path, description = "The job's id")),
    request_body(content = Option<ReplayRequest>, content_type = "application/json"),
    responses((status = 202, description = "The job is queued again", body = Accepted), (status = 404, description = "No such dead letter")),
    security(("admin_token" = [])),
)]
pub async fn replay(
    State(state): State<ApiState>,
    admin: Admin,
    JobPath(id): JobPath,
    Params(params): Params,
    body: Body,
) -> Result<Response> {
    params.finish()?;
    let mut fields = body.optional_fields()?;
    let payload = fields.any("payload");
    fields.finish()?;
    let payload = match payload {
        Some(payload) => Some(edited(payload, letter(&state, id).await?.letter.kind, &state)?),
        None => None,
    };
    let asked = json!({ "edited": payload.is_some() });
    let deed = Deed::new(AdminAction::ReplayLetter).to(id.to_string()).asked(asked);
    let replaying = move |state: ApiState, progress: Progress| async move {
        let replay = state.store.replay(id, payload).await?;
        progress.add(u64::from(replay == Replay::Replayed));
        Ok(replay)
    };
    match admin.does(&state, deed, replaying).await? {
        Replay::Replayed => Ok(accepted(Stored { id, replayed: false }, Accepted::of(id))),
        Replay::NotDead => Err(not_found()),
    }
}
