//! What keeps a job waiting that could be worked on by itself: a pause, or a provider that is left alone.
//!
//! It is told from what this process knows anyway. Breakers are in its memory; whether a kind is paused is looked up
//! for all jobs together, at most once in [`PAUSES_KNOWN_FOR`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::state::ApiState;
use crate::{
    domain::{
        clock::Timestamp,
        job::{JobView, Kind, Status, words},
    },
    gate::{BreakerView, Operation},
    resilience::breaker::BreakerState,
};

/// How long it is taken for granted what is paused.
const PAUSES_KNOWN_FOR: Duration = Duration::from_secs(2);

words! {
    /// What a job waits for besides its turn.
    WaitingFor {
        /// Operators have paused jobs of its kind.
        Paused = "paused",
        /// The model provider fails, and is left alone until a call to it shows that it is well again.
        Provider = "provider",
    }
}

/// A job as its owner sees it, with what holds it up at present.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct JobStatus {
    /// The job.
    #[serde(flatten)]
    pub job: JobView,
    /// What it waits for besides its turn; left out unless it could be worked on otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// When the provider that it waits for is tried again, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl JobStatus {
    /// The job with what holds it up.
    pub async fn of(job: JobView, state: &ApiState) -> Self {
        let now = state.clock.now();
        let (waiting_for, retry_at) = match job.kind {
            kind @ (Kind::Chat | Kind::Ingest) if could_run(&job, now) => held_up(kind, state, now).await,
            _ => (None, None),
        };
        Self { job, waiting_for, retry_at }
    }
}

/// Whether nothing of its own keeps a job from being worked on.
fn could_run(job: &JobView, now: Timestamp) -> bool {
    match job.status {
        Status::Queued => true,
        Status::Scheduled => job.error.as_ref().and_then(|error| error.retry_at).is_some_and(|at| at <= now),
        Status::Running | Status::Completed | Status::Dead | Status::Cancelled => false,
    }
}

async fn held_up(kind: Kind, state: &ApiState, now: Timestamp) -> (Option<WaitingFor>, Option<Timestamp>) {
    let figures = state.last_look.stats(state.store.as_ref(), PAUSES_KNOWN_FOR).await;
    if figures.is_some_and(|figures| figures.paused.contains(&kind)) {
        return (Some(WaitingFor::Paused), None);
    }
    let operation = if kind == Kind::Chat { Operation::Chat } else { Operation::Embeddings };
    let breakers = state.health.breakers();
    let mut asked = breakers.iter().filter(|breaker| breaker.operation == operation).peekable();
    if asked.peek().is_none() || asked.clone().any(|breaker| breaker.state == BreakerState::Closed) {
        return (None, None);
    }
    let soonest = asked.filter_map(|breaker: &BreakerView| breaker.retry_in_ms).min();
    (Some(WaitingFor::Provider), soonest.map(|wait| now.plus(Duration::from_millis(wait))))
}
