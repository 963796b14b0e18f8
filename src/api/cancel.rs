//! `POST /admin/jobs/cancel`: many jobs called off at once.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    admin::{PAUSABLE, PausableKind, pausable},
    auth::Admin,
    deeds::{Deed, Progress},
    fields::Fields,
    input::{Body, Params},
    many::Extent,
    problem::Result,
    state::ApiState,
};
use crate::{
    domain::{
        audit::AdminAction,
        job::{Kind, Status},
    },
    queue::{CancelStep, CancelTally},
};

/// The states a job can be cancelled in, in the order in which they are gone through: what moves on meanwhile is met
/// again further on.
const UNFINISHED: [Status; 3] = [Status::Scheduled, Status::Queued, Status::Running];

/// Jobs looked at in one step.
const STEP: usize = 1_000;

/// Which jobs are to be cancelled; what is left out narrows nothing down.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Of this kind.
    #[schema(nullable, value_type = Option<PausableKind>)]
    kind: Option<Kind>,
    /// In one of these states.
    #[schema(nullable, value_type = Option<Vec<UnfinishedStatus>>, min_items = 1)]
    status: Option<Vec<Status>>,
    /// No more than so many.
    #[schema(nullable, minimum = 1, maximum = 1_000_000_000_u64)]
    limit: Option<u64>,
    /// Only say how many match.
    #[schema(nullable)]
    dry_run: Option<bool>,
}

/// A state from which a job can be cancelled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnfinishedStatus {
    /// Waits for a worker.
    Queued,
    /// Waits for its time.
    Scheduled,
    /// Is worked on under a lease.
    Running,
}

/// What was cancelled.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Cancelled {
    /// Jobs that match, within the limit.
    pub matched: u64,
    /// Those of them that were cancelled.
    pub cancelled: u64,
}

struct Wanted {
    kinds: Vec<Kind>,
    statuses: Vec<Status>,
    extent: Extent,
}

impl Wanted {
    fn read(mut fields: Fields) -> Result<Self> {
        let kind = fields.any("kind").map(|value| pausable(&value));
        if kind == Some(None) {
            fields.fail("kind", "must be one of chat, ingest");
        }
        let unfinished = |value: &Value| value.as_str()?.parse().ok().filter(|status| UNFINISHED.contains(status));
        let statuses: Option<Vec<Status>> = match fields.any("status") {
            None => Some(UNFINISHED.to_vec()),
            Some(Value::Array(given)) if !given.is_empty() => given.iter().map(unfinished).collect(),
            Some(_) => None,
        };
        if statuses.is_none() {
            fields.fail("status", "must be a list of at least one of queued, scheduled, running");
        }
        let extent = Extent::read(&mut fields);
        fields.finish()?;
        let statuses = statuses.unwrap_or_default();
        let kinds = kind.flatten().map_or_else(|| PAUSABLE.to_vec(), |kind| vec![kind]);
        let statuses = UNFINISHED.into_iter().filter(|status| statuses.contains(status)).collect();
        Ok(Self { kinds, statuses, extent })
    }
}

/// Cancel many jobs
///
/// In steps, so that the queue goes on meanwhile: jobs that are submitted while it is at work may be among them. It goes
/// on to its end even if nobody waits for the answer; should it fail midway, the problem's `done` says after how many.
#[utoipa::path(
    post, path = "/admin/jobs/cancel", tag = "operator", operation_id = "cancel_jobs",
    request_body(content = CancelRequest, content_type = "application/json"),
    responses((status = 200, description = "What was cancelled", body = Cancelled)),
    security(("admin_token" = [])),
)]
pub async fn cancel_many(
    State(state): State<ApiState>,
    admin: Admin,
    Params(params): Params,
    body: Body,
) -> Result<Json<Cancelled>> {
    params.finish()?;
    let wanted = Wanted::read(Fields::of_json(body.json()?)?)?;
    if wanted.extent.dry_run {
        return cancel_wanted(&state, &wanted, &Progress::default()).await.map(Json);
    }
    let asked = json!({ "kinds": wanted.kinds, "status": wanted.statuses, "limit": wanted.extent.limit });
    let cancelling =
        |state: ApiState, progress: Progress| async move { cancel_wanted(&state, &wanted, &progress).await };
    admin.does(&state, Deed::new(AdminAction::CancelJobs).asked(asked), cancelling).await.map(Json)
}

async fn cancel_wanted(state: &ApiState, wanted: &Wanted, progress: &Progress) -> Result<Cancelled> {
    // No more than there are now, so that it has an end however fast others submit.
    let counts = state.store.stats().await?.counts;
    let there = wanted.statuses.iter().filter_map(|status| counts.get(status)).sum();
    let limit = wanted.extent.limit.map_or(there, |limit| limit.min(there));
    let mut done = Cancelled::default();
    for status in &wanted.statuses {
        for kind in &wanted.kinds {
            let limit = limit - done.matched;
            let Cancelled { matched, cancelled } =
                cancel_all(state, (*kind, *status), limit, wanted.extent.dry_run, progress).await?;
            done.matched += matched;
            done.cancelled += cancelled;
        }
    }
    Ok(done)
}

async fn cancel_all(
    state: &ApiState,
    (kind, status): (Kind, Status),
    limit: u64,
    dry_run: bool,
    progress: &Progress,
) -> Result<Cancelled> {
    let (mut skip, mut done) = (0, Cancelled::default());
    while done.matched < limit {
        progress.may_go_on()?;
        let max = STEP.min(usize::try_from(limit - done.matched).unwrap_or(STEP));
        let step = CancelStep { skip, max, dry_run };
        let CancelTally { seen, matched, cancelled } = state.store.cancel_some(kind, status, step).await?;
        if seen == 0 {
            break;
        }
        done.matched += matched as u64;
        done.cancelled += cancelled as u64;
        progress.add(cancelled as u64);
        skip += seen - cancelled;
    }
    Ok(done)
}
