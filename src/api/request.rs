//! What happens around every request: its id, its one line in the log, panics, the body of problems,
//! the headers that keep browsers from guessing.
//!
//! A log line names the route's template, never the query string nor anything of the body.

use std::{any::Any, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tracing::{Instrument, debug, error, error_span, info};

use super::{
    input::traceparent,
    problem::{Problem, ProblemCode},
    state::ApiState,
    submit::ForLog,
};
use crate::{
    domain::{clock::Timestamp, ids::JobId, origin::TraceContext},
    telemetry::{logs, traces},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the request that is being answered is known by.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its id.
    pub id: String,
    /// The id for the job that it makes, should it make one.
    pub job_id: JobId,
    /// Its place in its trace.
    pub context: TraceContext,
}

impl Received {
    /// The caller's id and trace context as far as they are given and harmless; else it is called like the job that it
    /// may make, so that one id finds them all.
    fn new(headers: &HeaderMap, caller: Option<TraceContext>, now: Timestamp) -> Self {
        let sane = |text: &&str| {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
        };
        let job_id = JobId::new(now.0);
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        Self {
            id: given.map_or_else(|| job_id.to_string(), str::to_owned),
            job_id,
            context: caller.unwrap_or_else(|| TraceContext::of(job_id)),
        }
    }
}

/// The outermost layer.
pub async fn around(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let caller = traceparent(request.headers());
    let mut received = Received::new(request.headers(), caller, state.clock.now());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let traced = state.sampling.request(caller, received.context.trace, &method, &route, &received.id);
    if let Some(context) = traces::context_of(&traced) {
        received.context = context;
    }
    request.extensions_mut().insert(received.clone());
    let begun = Instant::now();
    // Whatever is logged meanwhile says which request it is about.
    let span = error_span!(target: logs::IDS, "request", request.id = %received.id, trace_id = %received.context.trace);
    let mut response = next.run(request).instrument(traced.clone()).instrument(span.clone()).await;
    if state.leaving.is_cancelled() {
        // A caller that keeps its connection would go on here until it breaks under a request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    state.metrics.request(&method, &route, response.status(), begun.elapsed());
    let code = response.extensions().get::<Problem>().map(|problem| problem.code().as_str());
    traces::replied(&traced, response.status(), code);
    span.in_scope(|| finish(response, &received.id, &method, &route, begun))
}

fn finish(mut response: Response, id: &str, method: &Method, route: &str, begun: Instant) -> Response {
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        *response.body_mut() = if *method == Method::HEAD { Body::empty() } else { problem.body(id).into() };
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    log(&response, problem.as_ref(), method, route, begun);
    response
}

fn log(response: &Response, problem: Option<&Problem>, method: &Method, route: &str, begun: Instant) {
    let status = response.status().as_u16();
    let duration_ms = begun.elapsed().as_millis() as u64;
    let code = problem.map(|problem| problem.code().as_str());
    let job = response.extensions().get::<ForLog>().map(|job| job.0.to_string());
    let job = job.as_deref();
    if let Some(cause) = problem.and_then(Problem::cause) {
        error!(%method, route, status, duration_ms, code, error = %cause, "request");
    } else if is_routine(method, route, status) {
        debug!(%method, route, status, duration_ms, code, "request");
    } else {
        info!(job.id = job, %method, route, status, duration_ms, code, "request");
    }
}

/// Probes, and reads that succeed: callers poll, so that at `info` nothing else could be seen.
fn is_routine(method: &Method, route: &str, status: u16) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD) && status < 400;
    reads || route.starts_with("/health") || route == "/metrics"
}

/// What a panic inside a handler is answered with. What it said may hold anything: only that it was, is kept.
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

/// No such route.
pub async fn no_route() -> Problem {
    Problem::new(ProblemCode::NotFound, "see /openapi.json for what there is")
}

/// The route does not know the method; which ones it knows is added as `Allow`.
pub async fn no_method() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "the header Allow names the methods of this route")
}
