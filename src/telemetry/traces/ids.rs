//! Ids of traces and spans: at random, unless they follow from something else.
//!
//! A trace that begins here is named like the job that its request makes. An attempt's span is named after its job and
//! delivery, so that the next attempt can be linked to it, wherever that runs, with nothing stored.

use std::{cell::Cell, num::NonZeroU64};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::domain::{ids::JobId, origin};

thread_local! {
    /// The ids of the span that this thread begins at present, where they are given.
    static GIVEN: Cell<(Option<TraceId>, Option<SpanId>)> = const { Cell::new((None, None)) };
}

/// Makes ids.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        GIVEN.get().0.unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        GIVEN.get().1.unwrap_or_else(|| self.0.new_span_id())
    }
}

/// Begins `span` now, under the ids that are given: a span has its ids from its beginning, which is otherwise put off
/// until they are asked for.
pub(super) fn begin(span: &Span, trace: Option<origin::TraceId>, id: Option<NonZeroU64>) -> SpanContext {
    GIVEN.set((trace.map(|trace| trace.0.into()), id.map(|id| id.get().into())));
    let context = span.context().span().span_context().clone();
    GIVEN.set((None, None));
    context
}

/// The id of the span of a delivery.
pub(super) fn of_delivery(job: JobId, delivery: u64) -> NonZeroU64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&job.bits().to_le_bytes()).update(&delivery.to_le_bytes());
    let mut id = [0; 8];
    hash.finalize_xof().fill(&mut id);
    NonZeroU64::new(u64::from_le_bytes(id)).unwrap_or(NonZeroU64::MIN)
}
