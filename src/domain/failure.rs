//! What can go wrong with a job, as a closed set, and what follows from each.
//!
//! Adapters turn their errors into a [`Failure`]; [`Code::class`] decides what happens to the job and
//! [`Code::breaker`] what the circuit breaker learns. Both are exhaustive: a new code does not compile
//! until its consequences are stated.

use std::{error::Error, fmt, iter, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// What follows from a failure for the job that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May succeed when tried again: uses an attempt, retried with backoff.
    Transient,
    /// There is no room just now at the provider, or what ragq itself needs is away: a deferral, no attempt used.
    Overloaded,
    /// The provider can't be used until somebody mends it (key, quota, model): a deferral, no attempt used.
    ProviderUnusable,
    /// Can never succeed: dead at once.
    Permanent,
}

/// What a circuit breaker makes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerSignal {
    /// Counts as a failed call.
    Failure,
    /// Counts in the success rate only.
    RateOnly,
    /// Opens the breaker at once.
    Trip,
    /// Says nothing about the provider.
    Ignored,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $class:ident, $breaker:ident;)*) => {
        /// Why something failed: a closed set of stable words, the same in API, metrics and dashboards.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl utoipa::PartialSchema for Code {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                super::schema::one_of(Self::ALL.iter().map(|word| word.as_str()))
            }
        }
        impl utoipa::ToSchema for Code {}

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word in `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// What follows for the job.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),* }
            }

            /// What the breaker around the provider learns.
            pub const fn breaker(self) -> BreakerSignal {
                match self { $(Self::$variant => BreakerSignal::$breaker),* }
            }
        }
    };
}

codes! {
    /// Connection refused, reset, DNS or TLS failure.
    ProviderUnreachable = "provider_unreachable" => Transient, Failure;
    /// No first token, or no whole answer, in time.
    ProviderTimeout = "provider_timeout" => Transient, Failure;
    /// The stream went silent for too long.
    StreamStalled = "stream_stalled" => Transient, Failure;
    /// The stream ended before the answer did.
    StreamCut = "stream_cut" => Transient, Failure;
    /// 500, 502, 504 or another server error.
    ProviderError = "provider_error" => Transient, Failure;
    /// The reply was not what the protocol says.
    ProviderGarbled = "provider_garbled" => Transient, Failure;
    /// The model said nothing.
    EmptyAnswer = "empty_answer" => Transient, Failure;
    /// 429: the provider's rate limit.
    RateLimited = "rate_limited" => Overloaded, RateOnly;
    /// 503 or 529: the provider has no capacity.
    ProviderOverloaded = "provider_overloaded" => Overloaded, RateOnly;
    /// The circuit breaker around the provider is open.
    BreakerOpen = "breaker_open" => Overloaded, Ignored;
    /// Our own request or token budget is used up for now.
    BudgetExhausted = "budget_exhausted" => Overloaded, Ignored;
    /// 401 or 403: the key is wrong or may not do this.
    ProviderUnauthorized = "provider_unauthorized" => ProviderUnusable, Trip;
    /// 404: the model does not exist there.
    ModelNotFound = "model_not_found" => ProviderUnusable, Trip;
    /// 429 `insufficient_quota`: the account has no money left.
    QuotaExhausted = "quota_exhausted" => ProviderUnusable, Trip;
    /// 400, 413, 422: the provider will never take this request.
    ProviderRejected = "provider_rejected" => Permanent, Ignored;
    /// The prompt is larger than the model's context.
    ContextTooLong = "context_too_long" => Permanent, Ignored;
    /// The provider's content filter refused the question or the answer.
    ContentRefused = "content_refused" => Permanent, Ignored;
    /// One request is larger than the whole token budget.
    LargerThanBudget = "larger_than_budget" => Permanent, Ignored;
    /// The passage index did not answer, or not in time.
    IndexUnavailable = "index_unavailable" => Transient, Ignored;
    /// The index holds vectors of another model or dimension.
    IndexMismatch = "index_mismatch" => Permanent, Ignored;
    /// The job store did not answer.
    StoreUnavailable = "store_unavailable" => Overloaded, Ignored;
    /// The job's payload can't be read.
    UndecodablePayload = "undecodable_payload" => Permanent, Ignored;
    /// The request named a collection that does not exist.
    CollectionNotFound = "collection_not_found" => Permanent, Ignored;
    /// The job was not done by its deadline.
    DeadlineExceeded = "deadline_exceeded" => Permanent, Ignored;
    /// One attempt ran longer than an attempt may.
    AttemptTimeout = "attempt_timeout" => Transient, Ignored;
    /// The handler panicked: a defect of ragq.
    HandlerPanicked = "handler_panicked" => Transient, Ignored;
    /// The job's worker was lost too often while it ran.
    Poison = "poison" => Permanent, Ignored;
    /// The document's format is not one that ragq reads.
    UnsupportedFormat = "unsupported_format" => Permanent, Ignored;
    /// The document's bytes are not of the format its name claims.
    DocumentMislabelled = "document_mislabelled" => Permanent, Ignored;
    /// The document holds no text.
    DocumentEmpty = "document_empty" => Permanent, Ignored;
    /// The document is encrypted.
    DocumentEncrypted = "document_encrypted" => Permanent, Ignored;
    /// The document is damaged or cut short.
    DocumentDamaged = "document_damaged" => Permanent, Ignored;
    /// The document, or the text in it, is larger than allowed.
    DocumentTooLarge = "document_too_large" => Permanent, Ignored;
    /// Reading the document took longer than allowed.
    ParserTimeout = "parser_timeout" => Permanent, Ignored;
    /// Reading the document used more memory than allowed.
    ParserMemory = "parser_memory" => Permanent, Ignored;
    /// The parser crashed on the document.
    ParserCrashed = "parser_crashed" => Permanent, Ignored;
    /// The parser process could not be started.
    ParserUnavailable = "parser_unavailable" => Transient, Ignored;
    /// Anything else; counted, so that it is seen and given a code of its own.
    Unknown = "unknown" => Transient, Ignored;
}

impl Code {
    /// The code of a word as it stands in a store: a newer ragq may have written some that this one does not know.
    pub fn stored(word: &str) -> Self {
        Self::ALL.iter().copied().find(|known| known.as_str() == word).unwrap_or(Self::Unknown)
    }

    /// The same for `serde`. Not for what callers send: a word they made up is a mistake of theirs.
    pub(crate) fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::stored(&String::deserialize(deserializer)?))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error and all that stands behind it, outermost first, for logs: the last is often the one that says it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let all = iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// One failure, as adapters report it and workers act on it.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// Why.
    pub code: Code,
    /// For the caller: says what happened; never holds a secret, a prompt or a payload.
    pub message: String,
    /// How long the other side asked us to wait.
    pub retry_after: Option<Duration>,
    /// Whether it was met by the one call that tried out a provider that had been left alone.
    pub probe: bool,
    /// The error behind it, for logs.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with a message for the caller.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, probe: false, source: None }
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with the wait that the other side asked for.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// What follows for the job.
    pub const fn class(&self) -> Class {
        self.code.class()
    }

    /// Whether the job is put off for it without using an attempt: also for a probe that met what would else use one.
    pub const fn defers(&self) -> bool {
        match self.class() {
            Class::Overloaded | Class::ProviderUnusable => true,
            Class::Transient => self.probe,
            Class::Permanent => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_word_which_serde_writes_too() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(Code::stored(code.as_str()), *code);
        }
    }

    #[test]
    fn a_word_of_a_newer_version_is_unknown_in_a_store_and_a_mistake_of_a_caller() {
        assert_eq!(Code::stored("moon_in_the_way"), Code::Unknown);
        assert!(serde_json::from_str::<Code>("\"moon_in_the_way\"").is_err());
    }
}
