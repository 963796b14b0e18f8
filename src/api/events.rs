//! `GET /jobs/{id}/events`: a job's event log as server-sent events.
//!
//! The log is in the store, so any replica can serve any reader from any place in it. A stream reads
//! pages until it has caught up, then waits for the job's next change; it looks at least once a second,
//! which also keeps the store's mark that somebody reads, so that the answer comes at a reader's pace.

use std::{collections::VecDeque, convert::Infallible, error::Error, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    auth::Viewer,
    fields::Fields,
    input::{JobPath, Params},
    jobs::not_found,
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};
use crate::{
    domain::{
        event::{EventKind, EventPage, JobEvent},
        ids::{JobId, Tenant},
    },
    queue::Watch,
};

const PAGE: usize = 500;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// The number after which to go on: the header, which a reconnecting browser sends, wins over the parameter,
/// which stays in its address for ever.
fn resume_after(headers: &HeaderMap, params: &mut Fields) -> Result<Option<u64>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or_else(|| {
            Problem::new(ProblemCode::MalformedEventId, "Last-Event-ID and after are the number of an event, from 0")
        })
    };
    let after = match params.any("after") {
        Some(value) => Some(number(value.as_str().unwrap_or_default())?),
        None => None,
    };
    match headers.get("last-event-id") {
        // An empty header is what a browser sends that has seen no id yet.
        Some(value) if value.is_empty() => Ok(after),
        Some(value) => number(value.to_str().unwrap_or_default()).map(Some),
        None => Ok(after),
    }
}

/// An event on the wire: its data is the event's own fields with `seq` and `attempt`.
fn wire(event: &JobEvent) -> Event {
    let mut data = serde_json::to_value(event).unwrap_or_else(|_| json!({}));
    if let Value::Object(members) = &mut data {
        members.remove("event");
    }
    Event::default().id(event.seq.to_string()).event(event.kind.name()).data(data.to_string())
}

/// Where a stream stands.
struct Reader {
    state: ApiState,
    tenant: Tenant,
    job: JobId,
    watch: Watch,
    after: Option<u64>,
    waiting: VecDeque<JobEvent>,
    phase: Phase,
}

#[derive(PartialEq)]
enum Phase {
    /// There may be more in the log already.
    CatchingUp,
    /// All that is in the log has been read.
    Following,
    /// What waits to be sent is the last.
    Ending,
    /// Nothing more is sent.
    Closed,
}

impl Reader {
    fn take(&mut self, page: EventPage) {
        self.phase = match () {
            () if page.ended => Phase::Ending,
            () if page.events.len() < PAGE => Phase::Following,
            () => Phase::CatchingUp,
        };
        self.after = page.events.last().map(|event| event.seq).or(self.after);
        self.waiting.extend(page.events.into_iter().filter(|event| event.kind != EventKind::Unknown));
    }

    /// Reads on. A store that does not answer closes the stream: the reader comes back with the number it
    /// has seen. So does a job that has expired meanwhile.
    async fn read(&mut self) {
        match self.state.store.events(&self.tenant, self.job, self.after, PAGE).await {
            Ok(Some(page)) => self.take(page),
            Ok(None) => self.phase = Phase::Ending,
            Err(error) => {
                warn!(job.id = %self.job, error = &error as &dyn Error, "event stream closed: the job store does not answer");
                self.phase = Phase::Ending;
            }
        }
    }

    /// The next thing to send; none: the stream is over.
    async fn next(mut self) -> Option<(std::result::Result<Event, Infallible>, Self)> {
        loop {
            if self.phase == Phase::Closed {
                return None;
            }
            if self.state.drain.is_cancelled() && self.phase != Phase::Ending {
                self.phase = Phase::Closed;
                return Some((Ok(Event::default().retry(Duration::ZERO)), self));
            }
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(wire(&event)), self));
            }
            match self.phase {
                Phase::Ending | Phase::Closed => return None,
                Phase::CatchingUp => self.read().await,
                Phase::Following => {
                    let drain = self.state.drain.clone();
                    tokio::select! {
                        () = drain.cancelled() => continue,
                        _ = self.watch.changed() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                    self.read().await;
                }
            }
        }
    }

    fn stream(self) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
        stream::unfold(self, Self::next)
    }
}

/// Follow a job
///
/// Server-sent events from the first (or the one after `Last-Event-ID` or `after`) to the job's end. Each
/// event has its number as `id` and a JSON object as `data` with `seq`, `attempt` and what belongs to it:
/// `created`, `started` (`worker`; opens a new attempt: drop earlier deltas), `passages` (`citations`),
/// `delta` (`text`), `deferred` and `retrying` (`code`, `message`, `retry_at`), `completed` (`result`),
/// `dead` (`error`), `cancelled`, `replayed`. A replay is followed with the admin token and tells its `progress`
/// (`matched`, `replayed`, `skipped`, `failed_again`).
#[utoipa::path(
    get, path = "/jobs/{id}/events", tag = "jobs", operation_id = "job_events",
    params(
        ("id" = JobId, Path, description = "The job's id"),
        ("after" = Option<u64>, Query, minimum = 0, description = "Go on after this event"),
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, description = "Go on after this event; wins over `after`"),
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and every event was seen"),
        (status = 404, description = "No such job of the caller"),
    ),
    security(("api_key" = []), ("admin_token" = [])),
)]
pub async fn events(
    State(state): State<ApiState>,
    viewer: Viewer,
    JobPath(job): JobPath,
    headers: HeaderMap,
    Params(mut params): Params,
) -> Result<Response> {
    let after = resume_after(&headers, &mut params)?;
    params.finish()?;
    let tenant = viewer.tenant_of(&state, job).await?.ok_or_else(not_found)?;
    // Watch first, look then: no change falls between.
    let watch = state.store.watch(job);
    let page = state.store.events(&tenant, job, after, PAGE).await?.ok_or_else(not_found)?;
    // Nothing but events of a newer version is left: there is nothing to be shown of them.
    if page.ended && page.events.iter().all(|event| event.kind == EventKind::Unknown) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut reader = Reader { state, tenant, job, watch, after, waiting: VecDeque::new(), phase: Phase::Following };
    reader.take(page);
    let keep_alive = KeepAlive::new().interval(COMMENT_EVERY);
    let mut response = Sse::new(reader.stream()).keep_alive(keep_alive).into_response();
    // Proxies of the nginx family would hold the events back.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    // A stream may be ended by the shutdown of the API, which ends its connection too: a caller that had kept that one
    // for its next request would lose it.
    let once = (header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().extend([unbuffered, once]);
    Ok(response)
}
