//! `GET /job-status` with its long poll, and `DELETE /jobs/{id}`.

use std::time::Duration;

use axum::{Json, extract::State};
use tokio::time::{Instant, timeout_at};

use super::{
    auth::Viewer,
    deeds::{Deed, Progress},
    fields::Text,
    input::{JobPath, Params, job_id},
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
    waiting::JobStatus,
};
use crate::{
    domain::{
        audit::AdminAction,
        ids::{JobId, Tenant},
        job::JobView,
    },
    queue::{Cancellation, Watch},
};

/// The answer for a job that is not there or not the caller's: the two look the same.
pub fn not_found() -> Problem {
    Problem::new(ProblemCode::JobNotFound, "no job of this caller has that id, or it has expired")
}

async fn call_off(state: &ApiState, tenant: &Tenant, id: JobId) -> Result<Cancellation> {
    state.store.cancel(tenant, id).await?.ok_or_else(not_found)
}

async fn view(state: &ApiState, tenant: &Tenant, id: JobId) -> Result<JobView> {
    state.store.job(tenant, id).await?.ok_or_else(not_found)
}

/// Waits until the job is final, the time is up or the process drains; the view is the latest one.
async fn wait(state: &ApiState, tenant: &Tenant, id: JobId, mut watch: Watch, until: Instant) -> Result<JobView> {
    loop {
        let job = view(state, tenant, id).await?;
        if job.status.is_final() {
            return Ok(job);
        }
        let woken = tokio::select! {
            woken = timeout_at(until, watch.changed()) => woken.is_ok(),
            () = state.drain.cancelled() => false,
        };
        if !woken {
            return view(state, tenant, id).await;
        }
    }
}

/// Read a job's state
///
/// With `wait_ms` the answer comes when the job is final or that time has passed, whatever is first.
/// `waiting_for` says what holds up a job that could be worked on: a pause, or a provider that fails.
/// The result of a `chat` job is an `Answer`. A replay is read with the admin token.
#[utoipa::path(
    get, path = "/job-status", tag = "jobs", operation_id = "job_status",
    params(
        ("job_id" = JobId, Query, description = "The job's id"),
        ("wait_ms" = Option<u64>, Query, minimum = 0, maximum = 30_000, description = "How long to wait for the job to become final, in milliseconds"),
    ),
    responses((status = 200, description = "The job", body = JobStatus), (status = 404, description = "No such job of the caller")),
    security(("api_key" = []), ("admin_token" = [])),
)]
pub async fn status(
    State(state): State<ApiState>,
    viewer: Viewer,
    Params(mut params): Params,
) -> Result<Json<JobStatus>> {
    // The id has a refusal of its own, 400, which comes before all others.
    let any = Text { max_chars: usize::MAX, fits: |_| true, rule: "" };
    let id = params.text("job_id", any).map(|text| job_id(&text)).transpose()?;
    let wait_ms = params.integer("wait_ms", 0..=state.api.max_wait_ms).unwrap_or(0);
    if id.is_none() {
        params.fail("job_id", "is required");
    }
    params.finish()?;
    let id = id.ok_or_else(not_found)?;
    let tenant = viewer.tenant_of(&state, id).await?.ok_or_else(not_found)?;
    let job = if wait_ms == 0 {
        view(&state, &tenant, id).await?
    } else {
        // Watch first, look then: no change falls between.
        let watch = state.store.watch(id);
        wait(&state, &tenant, id, watch, Instant::now() + Duration::from_millis(wait_ms)).await?
    };
    Ok(Json(JobStatus::of(job, &state).await))
}

/// Cancel a job
///
/// A job that is final stays what it is. A running job's lease is taken from its worker, which stops. A replay is
/// cancelled with the admin token; what it has put back stays in the queue.
#[utoipa::path(
    delete, path = "/jobs/{id}", tag = "jobs", operation_id = "cancel_job",
    params(("id" = JobId, Path, description = "The job's id")),
    responses((status = 200, description = "The job as it is now", body = JobView), (status = 404, description = "No such job of the caller")),
    security(("api_key" = []), ("admin_token" = [])),
)]
pub async fn cancel(
    State(state): State<ApiState>,
    viewer: Viewer,
    JobPath(id): JobPath,
    Params(params): Params,
) -> Result<Json<JobView>> {
    params.finish()?;
    let tenant = viewer.tenant_of(&state, id).await?.ok_or_else(not_found)?;
    let Some(admin) = viewer.operator_of(&tenant) else { return Ok(Json(call_off(&state, &tenant, id).await?.job)) };
    let cancelling = move |state: ApiState, progress: Progress| async move {
        let Cancellation { applied, job } = call_off(&state, &tenant, id).await?;
        progress.add(u64::from(applied));
        Ok(Json(job))
    };
    admin.does(&state, Deed::new(AdminAction::CancelReplay).to(id.to_string()), cancelling).await
}
