//! Traces over OTLP: which requests are traced, how spans are named and tied together, their way to the collector.
//!
//! Spans that are traced have a target of their own, which logs leave out. Most are recorded only within another one:
//! [`Sampling`] begins a trace for a share of the requests or goes on with the caller's, [`attempt`] goes on with the
//! one that a job brings along, and whatever is not within either costs a look. Names and attributes follow
//! OpenTelemetry's conventions for HTTP, messaging and generative AI; what is ours begins with `ragq.`. No attribute
//! holds a question, passage or answer unless the settings opt in, see [`CallSpan`].

mod call;
mod export;
mod ids;
mod spans;
mod tally;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer as _,
    layer::{Context, Filter},
    registry::LookupSpan,
};

pub use call::{CallSpan, Callee};
pub use export::{Export, ExportError};
pub use spans::{Outcome, Sampling, attempt, context_of, failed, replied, retrieved, stage, stored, submit};
pub use tally::sent_and_lost;

use super::logs::BoxedLayer;

/// The target of spans that are traced.
pub(super) const TARGET: &str = "ragq::trace";

/// The spans that stand within no other of this process; made only for what is sampled.
const OUTERMOST: [&str; 2] = ["request", "attempt"];

/// Records what is sampled with `tracer`.
pub(super) fn layer<S>(tracer: SdkTracer) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_level(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Sampled)
        .boxed()
}

/// Lets through the outermost spans, and what stands within a span that was let through.
struct Sampled;

impl<S> Filter<S> for Sampled
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_traced(metadata) && (OUTERMOST.contains(&metadata.name()) || context.lookup_current().is_some())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_traced(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Level::INFO.into())
    }
}

/// Whether it is for traces and not for logs.
pub(super) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}
