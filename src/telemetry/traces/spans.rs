//! The spans of requests, submits, attempts and their stages.

use http::{Method, StatusCode};
use opentelemetry::{
    Context,
    trace::{SpanContext, Status, TraceContextExt as _, TraceFlags, TraceState},
};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{TARGET, ids};
use crate::{
    config::settings,
    domain::{
        answer::Context as Passages,
        failure::Code,
        ids::JobId,
        job::{Delivery, Kind},
        origin::{TraceContext, TraceId},
    },
};

/// `messaging.system`: the queue is ours.
const SYSTEM: &str = "ragq";

/// Which requests are traced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampling {
    /// Of those that bring no trace context of their own; none without a collector.
    ratio: Option<f64>,
}

impl Sampling {
    /// As the settings say.
    pub fn of(settings: &settings::Trace) -> Self {
        Self { ratio: settings.otlp_endpoint.is_some().then_some(settings.sample_ratio) }
    }

    /// The span of a request, disabled unless it is traced. The caller decides where there is a `caller`; else the share
    /// of the settings, under the trace id `own`, but for reads: callers poll.
    pub fn request(self, caller: Option<TraceContext>, own: TraceId, method: &Method, route: &str, id: &str) -> Span {
        let sampled = match (self.ratio, caller) {
            (None, _) => false,
            (Some(_), Some(caller)) => caller.sampled,
            (Some(ratio), None) => !method.is_safe() && rand::random::<f64>() < ratio,
        };
        if !sampled {
            return Span::none();
        }
        let span = info_span!(
            target: TARGET,
            "request",
            otel.name = %format_args!("{method} {route}"),
            otel.kind = "server",
            http.request.method = %method,
            http.route = route,
            url.scheme = "http",
            ragq.request.id = id,
        );
        match caller {
            Some(caller) => go_on(&span, caller),
            None => drop(ids::begin(&span, Some(own), None)),
        }
        span
    }
}

/// Notes what a request was answered with.
pub fn replied(span: &Span, status: StatusCode, code: Option<&'static str>) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        failed(span, code.unwrap_or("internal"));
    }
}

/// The span of a submit; which job came of it is told by [`stored`].
pub fn submit(kind: Kind) -> Span {
    info_span!(
        target: TARGET,
        "submit",
        otel.name = %format_args!("submit {kind}"),
        otel.kind = "producer",
        messaging.system = SYSTEM,
        messaging.operation.name = "submit",
        messaging.operation.r#type = "send",
        messaging.destination.name = kind.as_str(),
    )
}

/// Notes on the span of a submit which job stands for it: a new one, or that of the request it repeats.
pub fn stored(submit: &Span, job: JobId) {
    if !submit.is_disabled() {
        submit.set_attribute("messaging.message.id", job.to_string());
    }
}

/// The span of one delivery; disabled unless its job's trace is recorded. It is a child of the submit, so that all is one
/// trace, and linked to the submit and to the attempt before it.
pub fn attempt(delivery: &Delivery) -> Span {
    let Some(submit) = delivery.origin.context.filter(|context| context.sampled) else { return Span::none() };
    let (lease, kind) = (&delivery.lease, delivery.kind);
    let span = info_span!(
        target: TARGET,
        "attempt",
        otel.name = %format_args!("process {kind}"),
        otel.kind = "consumer",
        messaging.system = SYSTEM,
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = kind.as_str(),
        messaging.message.id = %lease.job,
        messaging.client.id = lease.worker.as_str(),
        ragq.job.attempt = i64::from(delivery.attempt),
        ragq.job.delivery = lease.delivery as i64,
        ragq.job.deferrals = i64::from(delivery.deferrals),
        ragq.job.wait_ms = delivery.delivered_at.since(delivery.queued_at).as_millis() as i64,
    );
    if span.is_disabled() {
        return span;
    }
    go_on(&span, submit);
    span.add_link(remote(submit));
    if lease.delivery > 1 {
        let span_of_last = ids::of_delivery(lease.job, lease.delivery - 1);
        span.add_link(remote(TraceContext { span: span_of_last, ..submit }));
    }
    ids::begin(&span, None, Some(ids::of_delivery(lease.job, lease.delivery)));
    span
}

/// What became of an attempt: `unsettled` until told otherwise, noted on its span when this is dropped. So it is there
/// also where the process ends while the store does not answer.
#[derive(Debug)]
pub struct Outcome<'a> {
    attempt: &'a Span,
    /// What it is called.
    pub name: &'static str,
    /// What it failed with.
    pub code: Option<Code>,
}

impl<'a> Outcome<'a> {
    /// Nothing is written of `attempt` yet.
    pub fn of(attempt: &'a Span) -> Self {
        Self { attempt, name: "unsettled", code: None }
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.attempt.set_attribute("ragq.job.outcome", self.name);
        if let Some(code) = self.code {
            failed(self.attempt, code.as_str());
        }
    }
}

/// The span of a stage of what is going on.
pub fn stage(name: &'static str) -> Span {
    info_span!(target: TARGET, "stage", otel.name = name)
}

/// Notes on the present span what was found for a question.
pub fn retrieved(found: &Passages) {
    let span = Span::current();
    span.set_attribute("ragq.retrieval.mode", found.retrieval.mode.as_str());
    span.set_attribute("ragq.retrieval.degraded", found.retrieval.degraded);
    span.set_attribute("ragq.retrieval.passages", found.passages.len() as i64);
}

/// The place in its trace that a span stands for; none if it is not recorded.
pub fn context_of(span: &Span) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    let context = ids::begin(span, None, None);
    let id = u64::from_be_bytes(context.span_id().to_bytes()).try_into().ok()?;
    let trace = TraceId(u128::from_be_bytes(context.trace_id().to_bytes()));
    Some(TraceContext { trace, span: id, sampled: context.is_sampled() })
}

/// Notes that what a span stands for failed, and with what.
pub fn failed(span: &Span, kind: &'static str) {
    span.set_attribute("error.type", kind);
    span.set_status(Status::error(""));
}

/// Makes `span` the child of one elsewhere.
fn go_on(span: &Span, parent: TraceContext) {
    // It can only fail on a span that is not recorded.
    let _not_recorded = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
}

fn remote(context: TraceContext) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(context.trace.0.into(), context.span.get().into(), flags, true, TraceState::NONE)
}
