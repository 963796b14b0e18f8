//! Which of the optional fields of a request this provider takes.
//!
//! Not every compatible provider knows `stream_options`, and the field that limits the answer's length
//! has two names of which some providers refuse the one and some the other. What a provider refuses is
//! learnt from its refusal: that call fails as transient, the job's next attempt speaks the dialect. A
//! second call inside the first would be a retry that budgets and breaker do not see.

use std::sync::atomic::{AtomicBool, Ordering};

use super::stack::Said;
use crate::domain::failure::{Code, Failure};

/// What is known of the provider; learnt anew by each process.
#[derive(Debug)]
pub(super) struct Dialect {
    stream_options: AtomicBool,
    max_completion_tokens: AtomicBool,
}

impl Dialect {
    /// `OpenAI` itself refuses `max_tokens` for its newer models; others may know only that name.
    pub(super) const fn new(official: bool) -> Self {
        Self { stream_options: AtomicBool::new(true), max_completion_tokens: AtomicBool::new(official) }
    }

    /// Whether to ask for the usage of a streamed answer.
    pub(super) fn stream_options(&self) -> bool {
        self.stream_options.load(Ordering::Relaxed)
    }

    /// Whether the length limit goes by its newer name.
    pub(super) fn max_completion_tokens(&self) -> bool {
        self.max_completion_tokens.load(Ordering::Relaxed)
    }

    /// Learns from a refusal of what was sent; the failure is then one that may succeed when tried again.
    pub(super) fn learn(&self, mut failure: Failure, sent: Sent) -> Failure {
        let refused = |field| {
            failure.code == Code::ProviderRejected
                && failure
                    .source
                    .as_ref()
                    .and_then(|source| source.downcast_ref::<Said>())
                    .is_some_and(|said| said.refuses(field))
        };
        let what = if sent.stream_options && (refused("stream_options") || refused("include_usage")) {
            self.stream_options.store(false, Ordering::Relaxed);
            "stream_options"
        } else if !sent.max_completion_tokens && refused("max_completion_tokens") {
            self.max_completion_tokens.store(true, Ordering::Relaxed);
            "max_tokens"
        } else if sent.max_completion_tokens && refused("max_completion_tokens") {
            self.max_completion_tokens.store(false, Ordering::Relaxed);
            "max_completion_tokens"
        } else {
            return failure;
        };
        tracing::info!(field = what, "provider refused a field of the request, asking without it from now on");
        failure.code = Code::ProviderError;
        failure.message.push_str(" (it is asked without that field from now on)");
        failure
    }
}

/// Which optional fields a request carried: others may have been learnt while it was away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// It had `stream_options`.
    pub(super) stream_options: bool,
    /// It had `max_completion_tokens`, else `max_tokens`.
    pub(super) max_completion_tokens: bool,
}
