//! `POST /admin/dlq/replay`: many dead letters back into the queue, as a job of its own.

use std::str::FromStr;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    admin::{PAUSABLE, PausableKind, letter_filter},
    auth::Admin,
    deeds::{Deed, Progress},
    fields::Fields,
    input::{Body, Params},
    many::Extent,
    problem::Result,
    request::Received,
    state::ApiState,
    submit::{accepted, submit},
};
use crate::{
    domain::{
        audit::AdminAction,
        failure::Code,
        ids::{JobId, Tenant},
        job::{DeadReason, Kind, NewJob, Priority},
        origin::Origin,
        replay::{ReplayOrder, Selection},
    },
    queue::DeadLetterFilter,
};

/// Most ids in one request.
const MAX_IDS: usize = 1_000;
const SLOWEST: f64 = 0.001;
const FASTEST: f64 = 10_000.0;

/// Which dead letters are to be replayed, and how; what is left out narrows nothing down.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkReplayRequest {
    /// Died for this reason.
    #[schema(nullable)]
    reason: Option<DeadReason>,
    /// With this code.
    #[schema(nullable)]
    code: Option<Code>,
    /// Of this kind.
    #[schema(nullable, value_type = Option<PausableKind>)]
    kind: Option<Kind>,
    /// Only these.
    #[schema(nullable, min_items = 1, max_items = 1000)]
    ids: Option<Vec<JobId>>,
    /// No more than so many, the newest first.
    #[schema(nullable, minimum = 1, maximum = 1_000_000_000_u64)]
    limit: Option<u64>,
    /// No more than so many a second; if not said, as fast as they are worked on.
    #[schema(nullable, minimum = 0.001, maximum = 10_000.0)]
    rate_per_second: Option<f64>,
    /// Only say how many match.
    #[schema(nullable)]
    dry_run: Option<bool>,
}

/// A replay was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkReplay {
    /// Its job, of kind `replay`: read and followed with the admin token.
    pub job_id: JobId,
    /// How many dead letters it is for.
    pub matched: u64,
}

/// What a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkReplayDryRun {
    /// How many dead letters match.
    pub matched: u64,
    /// Always 0.
    pub replayed: u64,
}

struct Wanted {
    selection: Selection,
    extent: Extent,
    rate_per_second: Option<f64>,
}

fn ids(fields: &mut Fields) -> Option<Vec<JobId>> {
    let given = fields.any("ids")?;
    let list = given.as_array().filter(|list| (1..=MAX_IDS).contains(&list.len()));
    let ids = list.and_then(|list| list.iter().map(|id| JobId::from_str(id.as_str()?).ok()).collect());
    if ids.is_none() {
        fields.fail("ids", format!("must be a list of 1 to {MAX_IDS} job ids"));
    }
    ids
}

impl Wanted {
    fn read(mut fields: Fields) -> Result<Self> {
        let DeadLetterFilter { reason, code, kind } = letter_filter(&mut fields);
        if kind.is_some_and(|kind| !PAUSABLE.contains(&kind)) {
            fields.fail("kind", "must be one of chat, ingest: a replay is replayed by its id");
        }
        let ids = ids(&mut fields);
        let extent = Extent::read(&mut fields);
        let rate = fields.any("rate_per_second");
        let rate_per_second = rate.as_ref().and_then(Value::as_f64).filter(|rate| (SLOWEST..=FASTEST).contains(rate));
        if rate.is_some() && rate_per_second.is_none() {
            fields.fail("rate_per_second", format!("must be a number from {SLOWEST} to {FASTEST}"));
        }
        fields.finish()?;
        let selection = Selection { reason, code, kind, ids };
        Ok(Self { selection, extent, rate_per_second })
    }
}

/// Replay many dead letters
///
/// All that match when the request comes; letters that die later are not among them. The job stops itself when the
/// same cause returns on too many of them, and goes on under another API process if this one ends.
#[utoipa::path(
    post, path = "/admin/dlq/replay", tag = "operator", operation_id = "replay_dead_letters",
    request_body(content = BulkReplayRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "With `dry_run`: how many match", body = BulkReplayDryRun),
        (status = 202, description = "The replay is queued", body = BulkReplay),
    ),
    security(("admin_token" = [])),
)]
pub async fn replay_many(
    State(state): State<ApiState>,
    admin: Admin,
    Extension(received): Extension<Received>,
    Params(params): Params,
    body: Body,
) -> Result<Response> {
    params.finish()?;
    let Wanted { selection, extent: Extent { limit, dry_run }, rate_per_second } =
        Wanted::read(Fields::of_json(body.json()?)?)?;
    let (count, dead_by) = state.store.count_letters(&selection).await?;
    let matched = limit.map_or(count, |limit| count.min(limit));
    if dry_run {
        return Ok(Json(BulkReplayDryRun { matched, replayed: 0 }).into_response());
    }
    let order = ReplayOrder { selection, dead_by, matched, rate_per_second };
    let job = job(&state, received.job_id, &order);
    let Selection { reason, code, kind, ids } = &order.selection;
    let ids = ids.as_ref().map(Vec::len);
    let asked = json!({ "reason": reason, "code": code, "kind": kind, "ids": ids, "limit": limit,
        "rate_per_second": rate_per_second });
    let deed = Deed::new(AdminAction::ReplayLetters).to(job.id.to_string()).asked(asked);
    let submitting = move |state: ApiState, progress: Progress| async move {
        let stored = submit(&state, &received, job).await?;
        progress.add(matched);
        Ok(stored)
    };
    let stored = admin.does(&state, deed, submitting).await?;
    Ok(accepted(stored, BulkReplay { job_id: stored.id, matched }))
}

fn job(state: &ApiState, id: JobId, order: &ReplayOrder) -> NewJob {
    NewJob {
        id,
        tenant: Tenant::operator(),
        kind: Kind::Replay,
        priority: Priority::Normal,
        payload: json!(order),
        max_attempts: state.queue.max_attempts,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}
