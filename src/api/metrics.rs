//! `GET /metrics`: what this process counts of itself and, on the API, what the job store says of the deployment.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use super::state::ApiState;
use crate::{
    domain::job::{DeadReason, Kind, Status},
    gate,
    queue::QueueStats,
    telemetry::metrics::{Danger, Figures, KindFigures, Operation},
};

/// How old what is known of the deployment may be: several scrapers cost the job store no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// The text format that is written; the contract names it too.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Read the metrics
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((
        status = 200,
        description = "All metrics in Prometheus' text format",
        body = String,
        content_type = "text/plain; version=0.0.4; charset=utf-8",
    )),
)]
pub async fn metrics(State(state): State<ApiState>) -> Response {
    if state.metrics.speaks_for_the_deployment() {
        look(&state).await;
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn look(api: &ApiState) {
    let stats = api.last_look.stats(api.store.as_ref(), FRESH).await;
    api.metrics.show(&stats.map_or_else(Figures::unknown, |stats| figures(&stats)));
    for breaker in api.health.breakers() {
        let operation = match breaker.operation {
            gate::Operation::Chat => Operation::Chat,
            gate::Operation::Embeddings => Operation::Embeddings,
        };
        api.metrics.provider(&breaker.provider, operation).breaker_is(breaker.state.into());
    }
}

fn figures(stats: &QueueStats) -> Figures {
    let count = |status| stats.counts.get(&status).map_or(0.0, |count| *count as f64);
    Figures {
        kinds: Kind::ALL.iter().map(|kind| (*kind, of_kind(stats, *kind))).collect(),
        backlog: stats.backlog as f64,
        workers: stats.workers.len() as f64,
        completed: count(Status::Completed),
        cancelled: count(Status::Cancelled),
        used_bytes: known(stats.condition.used_bytes),
        limit_bytes: stats.condition.limit_bytes.unwrap_or_default() as f64,
        dangers: vec![
            (Danger::NoAppendOnlyFile, is(stats.condition.append_only == Some(false))),
            (Danger::AppendFails, is(stats.condition.append_works == Some(false))),
            (Danger::Evicts, is(stats.condition.keeps_all == Some(false))),
        ],
        dead_letters: DeadReason::ALL
            .iter()
            .map(|reason| (*reason, stats.dead.get(reason).map_or(0.0, |letters| *letters as f64)))
            .collect(),
    }
}

fn known(figure: Option<u64>) -> f64 {
    figure.map_or(f64::NAN, |figure| figure as f64)
}

fn is(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

fn of_kind(stats: &QueueStats, kind: Kind) -> KindFigures {
    let known = stats.kinds.get(&kind).copied().unwrap_or_default();
    let slots = stats.workers.iter().filter_map(|worker| worker.info.slots.get(&kind));
    KindFigures {
        queued: known.queued as f64,
        scheduled: known.scheduled as f64,
        running: known.running as f64,
        dead: known.dead as f64,
        oldest: known.oldest_queued_age_ms.unwrap_or_default() as f64 / 1_000.0,
        paused: is(stats.paused.contains(&kind)),
        slots: slots.map(|slots| f64::from(*slots)).sum(),
    }
}
