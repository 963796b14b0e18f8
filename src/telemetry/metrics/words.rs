//! The closed sets of labels that are of metrics alone; the others are enums of the domain.

use super::family::{Label, Sets, labels};
use crate::domain::{
    answer::RetrievalMode,
    failure::{Class, Code, Failure},
    job::{DeadReason, Kind},
};

labels!(of the domain: Code, DeadReason, Kind);

labels! {
    /// How a job ended.
    Outcome {
        /// With a result.
        Completed = "completed",
        /// As a dead letter.
        Dead = "dead",
        /// Called off.
        Cancelled = "cancelled",
    }

    /// A state that somebody waits in or has to look at.
    Depth {
        /// Waits for a worker.
        Queued = "queued",
        /// Waits for its time.
        Scheduled = "scheduled",
        /// Is worked on.
        Running = "running",
        /// Given up.
        Dead = "dead",
    }

    /// Why the job store may lose accepted jobs.
    Danger {
        /// It keeps no append-only file.
        NoAppendOnlyFile = "no_append_only_file",
        /// Its last write to that file failed.
        AppendFails = "append_fails",
        /// It drops keys when its memory is full.
        Evicts = "evicts",
    }

    /// A state that is done with.
    Kept {
        /// With a result.
        Completed = "completed",
        /// Called off.
        Cancelled = "cancelled",
    }

    /// What became of a span.
    SpanFate {
        /// The collector has it.
        Sent = "sent",
        /// Nobody has it.
        Lost = "lost",
    }

    /// How the index was searched.
    SearchMode {
        /// By words.
        Lexical = "lexical",
        /// By vectors.
        Dense = "dense",
        /// By both.
        Hybrid = "hybrid",
    }

    /// How an attempt ended: the classes of failure that use one up, or none.
    AttemptClass {
        /// Well.
        Succeeded = "succeeded",
        /// With a failure that may pass.
        Transient = "transient",
        /// With a failure that can't.
        Permanent = "permanent",
    }

    /// What is asked of a provider.
    Operation {
        /// An answer.
        Chat = "chat",
        /// Vectors.
        Embeddings = "embeddings",
    }

    /// What became of the tokens a provider was paid for.
    Fate {
        /// They are part of a result.
        Useful = "useful",
        /// The attempt failed and was, or will be, made again.
        Retried = "retried",
        /// The job was called off.
        Cancelled = "cancelled",
        /// Nothing came of them: the worker was lost, or the job died.
        Lost = "lost",
    }

    /// Which side of a call tokens are on.
    Side {
        /// What was sent.
        Prompt = "prompt",
        /// What came back.
        Completion = "completion",
    }

    /// The state of a circuit breaker.
    BreakerState {
        /// Calls go through.
        Closed = "closed",
        /// No call goes through.
        Open = "open",
        /// One call goes through to see.
        HalfOpen = "half_open",
    }

    /// Why ragq itself did not make a call it was to make.
    Refusal {
        /// The breaker is open.
        BreakerOpen = "breaker_open",
        /// The budget of requests or tokens is used up for now.
        BudgetExhausted = "budget_exhausted",
        /// The call is larger than the whole budget.
        LargerThanBudget = "larger_than_budget",
    }

    /// A stage of retrieval.
    RetrievalStage {
        /// The question becomes a vector.
        Embed = "embed",
        /// The index is searched.
        Search = "search",
        /// What is not seen any more is dropped.
        Filter = "filter",
    }

    /// A stage of taking in a document.
    IngestStage {
        /// Its text is read out of its bytes.
        Extract = "extract",
        /// Its chunks become vectors.
        Embed = "embed",
        /// Its chunks are stored in the index.
        Index = "index",
    }

    /// What is asked of the job store.
    StoreOperation {
        /// Store a job.
        Submit = "submit",
        /// Read a job, its events or a conversation.
        Read = "read",
        /// Cancel a job.
        Cancel = "cancel",
        /// Hand over jobs.
        Fetch = "fetch",
        /// Say that a worker lives.
        Heartbeat = "heartbeat",
        /// Write what a running job has so far.
        Write = "write",
        /// End a job.
        Finish = "finish",
        /// Put a job back.
        Release = "release",
        /// Read or change the document registry.
        Documents = "documents",
        /// What processes share of what they know of providers.
        Cells = "cells",
        /// What operators ask for.
        Operate = "operate",
        /// Housekeeping.
        Upkeep = "upkeep",
    }

    /// The class of an HTTP status.
    StatusClass {
        /// Well.
        Success = "2xx",
        /// Elsewhere, or as before.
        Redirect = "3xx",
        /// The caller's fault.
        CallerError = "4xx",
        /// Our fault.
        ServerError = "5xx",
    }
}

impl From<RetrievalMode> for SearchMode {
    fn from(mode: RetrievalMode) -> Self {
        match mode {
            RetrievalMode::Lexical => Self::Lexical,
            RetrievalMode::Dense => Self::Dense,
            RetrievalMode::Hybrid => Self::Hybrid,
        }
    }
}

impl AttemptClass {
    /// Of an attempt that ended in a failure; none of one that is not used by it.
    pub(super) const fn of(class: Class) -> Option<Self> {
        match class {
            Class::Transient => Some(Self::Transient),
            Class::Permanent => Some(Self::Permanent),
            Class::Overloaded | Class::ProviderUnusable => None,
        }
    }
}

impl From<http::StatusCode> for StatusClass {
    fn from(status: http::StatusCode) -> Self {
        match status.as_u16() {
            ..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::CallerError,
            500.. => Self::ServerError,
        }
    }
}

/// How a call to a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Well.
    Succeeded,
    /// Nobody wanted its end any more.
    Cancelled,
    /// With a failure.
    Failed(Code),
}

impl Label for CallOutcome {
    fn words(sets: &Sets) -> Vec<String> {
        let mut words = vec!["succeeded".to_owned(), "cancelled".to_owned()];
        words.extend(Code::words(sets));
        words
    }
    fn index(self) -> usize {
        match self {
            Self::Succeeded => 0,
            Self::Cancelled => 1,
            Self::Failed(code) => 2 + code.index(),
        }
    }
}

impl From<&Failure> for CallOutcome {
    fn from(failure: &Failure) -> Self {
        Self::Failed(failure.code)
    }
}

/// A route of the API, one of [`Sets::routes`]; what fits none is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub(super) usize);

/// What requests are counted under that fit no route, or come with a method the route does not know.
pub(super) const NO_ROUTE: &str = "unmatched";

impl Label for Route {
    fn words(sets: &Sets) -> Vec<String> {
        sets.routes.iter().cloned().chain([NO_ROUTE.to_owned()]).collect()
    }
    fn index(self) -> usize {
        self.0
    }
}

/// A provider, one of [`Sets::providers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider(pub(super) usize);

/// What stands for the provider where there is none, so that its series are there, at zero.
const NO_PROVIDER: &str = "none";

impl Label for Provider {
    fn words(sets: &Sets) -> Vec<String> {
        if sets.providers.is_empty() { vec![NO_PROVIDER.to_owned()] } else { sets.providers.clone() }
    }
    fn index(self) -> usize {
        self.0
    }
}

/// The one value of the version label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version;

impl Label for Version {
    fn words(_: &Sets) -> Vec<String> {
        vec![env!("CARGO_PKG_VERSION").to_owned()]
    }
    fn index(self) -> usize {
        0
    }
}
