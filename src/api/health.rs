//! `GET /health/live` and `GET /health/ready`.
//!
//! Ready means that jobs can be accepted: only an unreachable job store or a drain says no. Everything else
//! that is broken is told as `degraded`, because an accepted job can wait for it.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};
use crate::{
    domain::failure::Code,
    gate::{BreakerView, Operation},
    queue::StoreError,
};

const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const INDEX_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A part that does not work as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Degraded {
    /// Which part: `provider`, `embedding`, `index`.
    pub component: String,
    /// Why, as a stable word.
    #[schema(value_type = String)]
    pub code: Code,
    /// For people.
    pub message: String,
}

/// Knows how the providers do at present, without asking anybody: it is called by every probe.
pub trait HealthSource: Send + Sync {
    /// The breakers before them.
    fn breakers(&self) -> Vec<BreakerView>;
}

/// What a breaker that is not closed says of its provider.
fn provider_degraded(breaker: BreakerView) -> Option<Degraded> {
    let component = match breaker.operation {
        Operation::Chat => "provider",
        Operation::Embeddings => "embedding",
    };
    let message = breaker.message.unwrap_or_default();
    Some(Degraded {
        component: component.into(),
        code: breaker.code?,
        message: format!("{}: {message}", breaker.provider),
    })
}

/// For a process in which nothing watches the parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingWatched;

impl HealthSource for NothingWatched {
    fn breakers(&self) -> Vec<BreakerView> {
        Vec::new()
    }
}

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    /// Always `live`.
    #[schema(value_type = String, pattern = "^live$")]
    status: &'static str,
}

/// Jobs can be accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready`, or `degraded` while a part does not work.
    #[schema(value_type = String, pattern = "^(ready|degraded)$")]
    status: &'static str,
    /// The parts that do not work.
    degraded: Vec<Degraded>,
}

/// Is the process alive
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, description = "It is", body = Live)),
)]
pub async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

async fn index_degraded(state: &ApiState) -> Option<Degraded> {
    let message = match timeout(INDEX_ANSWERS_WITHIN, state.index.ping()).await {
        Ok(Ok(())) => return None,
        Ok(Err(failure)) => failure.message,
        Err(_) => "the passage index does not answer in time".to_owned(),
    };
    Some(Degraded { component: "index".into(), code: Code::IndexUnavailable, message })
}

/// Can jobs be accepted
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses(
        (status = 200, description = "They can; `degraded` names what does not work", body = Ready),
        (status = 503, description = "The job store does not answer, or the process is shutting down"),
    ),
)]
pub async fn ready(State(state): State<ApiState>) -> Result<Json<Ready>> {
    if state.leaving.is_cancelled() {
        return Err(Problem::from(StoreError::Closed));
    }
    match timeout(STORE_ANSWERS_WITHIN, state.store.ping()).await {
        Ok(answer) => answer?,
        Err(_) => {
            return Err(Problem::new(ProblemCode::StoreUnavailable, "the job store does not answer in time"));
        }
    }
    let mut degraded: Vec<_> = state.health.breakers().into_iter().filter_map(provider_degraded).collect();
    degraded.extend(index_degraded(&state).await);
    let status = if degraded.is_empty() { "ready" } else { "degraded" };
    Ok(Json(Ready { status, degraded }))
}
