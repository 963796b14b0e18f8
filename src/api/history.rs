//! `GET /admin/history`: the last hour in intervals, for small charts.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{auth::Admin, input::Params, problem::Result, state::ApiState};
use crate::queue::history::{HistoryInterval, INTERVAL, KEPT, StoredInterval};

/// The last minutes in intervals.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// How long an interval is, in milliseconds.
    pub interval_ms: u64,
    /// The intervals, oldest first; the last one is under way. States are as they were at an interval's end, what
    /// happened to jobs is counted over it.
    pub items: Vec<HistoryInterval>,
}

/// Read what happened in the last minutes
#[utoipa::path(
    get, path = "/admin/history", tag = "operator", operation_id = "queue_history",
    params(("minutes" = Option<u64>, Query, minimum = 1, maximum = 60, description = "How far back; 60 if not said")),
    responses((status = 200, description = "The intervals", body = History)),
    security(("admin_token" = [])),
)]
pub async fn history(State(state): State<ApiState>, _: Admin, Params(mut params): Params) -> Result<Json<History>> {
    let most = KEPT.as_secs() / 60;
    let minutes = params.integer("minutes", 1..=most).unwrap_or(most);
    params.finish()?;
    let stored = state.store.history(minutes).await?;
    Ok(Json(History { interval_ms: INTERVAL.as_millis() as u64, items: without_gaps(&stored) }))
}

/// One interval after the other: in those that are not there no process was up.
fn without_gaps(stored: &[StoredInterval]) -> Vec<HistoryInterval> {
    let mut items: Vec<HistoryInterval> = Vec::new();
    for interval in stored {
        let mut next = items.last().map(|last| last.at.plus(INTERVAL));
        while let Some(at) = next.filter(|at| *at < interval.at) {
            items.push(HistoryInterval::empty(at));
            next = Some(at.plus(INTERVAL));
        }
        items.push(HistoryInterval::of(interval));
    }
    items
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn intervals_in_which_nobody_was_up_are_empty() {
        let stored = |at: i64| StoredInterval { at: Timestamp(at), numbers: HashMap::from([("chat:dead".into(), 1)]) };
        let items = without_gaps(&[stored(15_000), stored(60_000)]);
        let seen: Vec<_> = items.iter().map(|item| (item.at.0, item.all.dead)).collect();
        assert_eq!(seen, [(15_000, 1), (30_000, 0), (45_000, 0), (60_000, 1)]);
    }
}
