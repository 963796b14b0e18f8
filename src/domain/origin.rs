//! Where a job comes from: the request that submitted it, and the trace it is part of.
//!
//! A request that brings neither an id nor a trace context of its own is called like the job that it makes: its id is
//! the job's ULID and its trace's id the same 128 bits. Of such a job nothing of this needs to be stored; a million of
//! them may wait in memory.

use std::{borrow::Cow, fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::JobId;

/// A trace's id, shown as 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct TraceId(pub u128);

impl From<JobId> for TraceId {
    fn from(job: JobId) -> Self {
        Self(job.bits())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TraceId {
    type Error = NoTraceContext;
    fn try_from(text: String) -> Result<Self, NoTraceContext> {
        hex(&text, 32).map(Self).ok_or(NoTraceContext)
    }
}

/// The text is no W3C trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no trace context (W3C, version 00)")]
pub struct NoTraceContext;

/// A place in a trace, as W3C's `traceparent` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that what follows is part of.
    pub span: NonZeroU64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The beginning of the trace that is named like `job`, not recorded.
    pub fn of(job: JobId) -> Self {
        let span = NonZeroU64::new(job.bits() as u64).unwrap_or(NonZeroU64::MIN);
        Self { trace: job.into(), span, sampled: false }
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Reads version 00, in which neither id is all zero.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let mut parts = text.split('-');
        let mut next = |digits| parts.next().and_then(|part| hex(part, digits));
        let (Some(0), Some(trace), Some(span), Some(flags)) = (next(2), next(32), next(16), next(2)) else {
            return Err(NoTraceContext);
        };
        match (trace, NonZeroU64::new(span as u64), parts.next()) {
            (1.., Some(span), None) => Ok(Self { trace: TraceId(trace), span, sampled: flags & 1 == 1 }),
            _ => Err(NoTraceContext),
        }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// So many lowercase hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let all = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    u128::from_str_radix(text, 16).ok().filter(|_| all)
}

/// What of a job's origin its id does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of the request, unless it is the job's.
    pub request_id: Option<String>,
    /// The trace, if it is another than the one named like the job, or recorded.
    pub context: Option<TraceContext>,
}

impl Origin {
    /// The origin of `job` in the request `request_id` and the trace `context`.
    pub fn new(job: JobId, request_id: &str, context: TraceContext) -> Self {
        Self {
            request_id: (request_id != job.to_string()).then(|| request_id.to_owned()),
            context: Some(context).filter(|context| context.sampled || context.trace != TraceId::from(job)),
        }
    }

    /// As a store kept it; a context that can't be read is none.
    pub fn kept(request_id: Option<String>, traceparent: Option<&str>) -> Self {
        Self { request_id, context: traceparent.and_then(|text| text.parse().ok()) }
    }

    /// The id of the request that submitted `job`.
    pub fn request_id(&self, job: JobId) -> Cow<'_, str> {
        self.request_id.as_deref().map_or_else(|| job.to_string().into(), Into::into)
    }

    /// The trace that `job` is part of.
    pub fn trace_id(&self, job: JobId) -> TraceId {
        self.context.map_or_else(|| job.into(), |context| context.trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_well_formed_trace_context_is_read() {
        let context: TraceContext = GOOD.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "hello",
            "",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(NoTraceContext), "{bad}");
        }
    }

    #[test]
    fn nothing_is_kept_of_a_job_that_has_its_request_s_name() {
        let job = JobId::new(1_700_000_000_000);
        let own = TraceContext { trace: job.into(), span: NonZeroU64::MIN, sampled: false };
        let origin = Origin::new(job, &job.to_string(), own);
        assert_eq!(origin, Origin::default());
        assert_eq!((origin.request_id(job), origin.trace_id(job)), (job.to_string().into(), job.into()));
        for told in [TraceContext { sampled: true, ..own }, GOOD.parse().unwrap()] {
            let origin = Origin::new(job, "r-1", told);
            let kept = Origin::kept(origin.request_id.clone(), origin.context.map(|told| told.to_string()).as_deref());
            assert_eq!(kept, origin);
            assert_eq!((kept.request_id(job), kept.trace_id(job)), ("r-1".into(), told.trace));
        }
    }
}
