//! The models that answer and embed, those asked in their place, and what stands before their providers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::secret::Secret, Settings};

section! {
    /// The model that answers.
    Model {
        /// Base address of an OpenAI-compatible API, usually ending in `/v1`; none: that of `OpenAI`, if there is a key.
        #[schemars(length(min = 1))]
        base_url: Option<String> = None,
        /// Key of that API; none: no Authorization header.
        #[schemars(length(min = 1))]
        api_key: Option<Secret> = None,
        /// What the provider is called in figures, metrics and the admin view.
        #[schemars(length(min = 1, max = 64))]
        provider: String = "openai".into(),
        /// Name of the model.
        #[schemars(length(min = 1))]
        name: String = "gpt-4o-mini".into(),
        /// Most tokens of an answer.
        #[schemars(range(min = 1, max = 1_000_000))]
        max_tokens: u32 = 1_024,
        /// Sampling temperature; none: the provider's default.
        #[schemars(range(min = 0.0, max = 2.0))]
        temperature: Option<f32> = None,
        /// Longest time to connect, in milliseconds; at most the wait for the first token.
        #[schemars(range(min = 1, max = 86_400_000))]
        connect_timeout_ms: u64 = 5_000,
        /// Longest wait for the first token, in milliseconds; at most the whole call.
        #[schemars(range(min = 1, max = 86_400_000))]
        first_token_timeout_ms: u64 = 60_000,
        /// Longest silence between tokens, in milliseconds; at most the whole call.
        #[schemars(range(min = 1, max = 86_400_000))]
        idle_timeout_ms: u64 = 30_000,
        /// Longest whole call, in milliseconds; less than `worker.chat_timeout_ms`.
        #[schemars(range(min = 1, max = 86_400_000))]
        call_timeout_ms: u64 = 240_000,
        /// Requests a minute that the provider allows the whole deployment; none: learned from its replies, if they say.
        #[schemars(range(min = 1))]
        requests_per_minute: Option<u64> = None,
        /// Tokens a minute that it allows, of prompts and answers together; none: learned in the same way.
        #[schemars(range(min = 1))]
        tokens_per_minute: Option<u64> = None,
    }
}

impl Model {
    /// Whether answers come from a provider.
    pub const fn has_provider(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
    }
}

section! {
    /// The model that embeds.
    Embedding {
        /// Name of the embedding model; none: lexical retrieval only.
        #[schemars(length(min = 1))]
        model: Option<String> = None,
        /// Texts per call when taking in documents.
        #[schemars(range(min = 1, max = 2_048))]
        batch: usize = 64,
        /// Longest call, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        timeout_ms: u64 = 30_000,
        /// Requests a minute that the provider allows the whole deployment; none: learned from its replies, if they say.
        #[schemars(range(min = 1))]
        requests_per_minute: Option<u64> = None,
        /// Tokens a minute that it allows; none: learned in the same way.
        #[schemars(range(min = 1))]
        tokens_per_minute: Option<u64> = None,
    }
}

section! {
    /// A model asked when those before it can't answer. What it does not say itself is as in `model`.
    Fallback {
        /// Name of the model; none: there is no such fallback.
        #[schemars(length(min = 1))]
        name: Option<String> = None,
        /// What its provider is called in figures, metrics and the admin view; none: the section's name.
        #[schemars(length(min = 1, max = 64))]
        provider: Option<String> = None,
        /// Base address of its API; none: that of `model`, with its key.
        #[schemars(length(min = 1))]
        base_url: Option<String> = None,
        /// Key of that API; none: no Authorization header, if it has an address of its own.
        #[schemars(length(min = 1))]
        api_key: Option<Secret> = None,
        /// Requests a minute that its provider allows; none: learned from its replies, if they say.
        #[schemars(range(min = 1))]
        requests_per_minute: Option<u64> = None,
        /// Tokens a minute that it allows; none: learned in the same way.
        #[schemars(range(min = 1))]
        tokens_per_minute: Option<u64> = None,
    }
}

impl Settings {
    /// The fallbacks with their sections' names, in order.
    pub const fn fallbacks(&self) -> [(&'static str, &Fallback); 2] {
        [("fallback_1", &self.fallback_1), ("fallback_2", &self.fallback_2)]
    }

    /// The models that answer, in the order in which they are asked; without a provider, those that would.
    pub fn models(&self) -> Vec<Model> {
        let further = self.fallbacks().into_iter().filter_map(|(section, fallback)| self.model.or(section, fallback));
        std::iter::once(self.model.clone()).chain(further).collect()
    }
}

impl Model {
    /// The model of a fallback, if it is one: in all it does not say, like this.
    fn or(&self, section: &str, fallback: &Fallback) -> Option<Self> {
        let mut model = Self {
            name: fallback.name.clone()?,
            provider: fallback.provider.clone().unwrap_or_else(|| section.to_owned()),
            requests_per_minute: fallback.requests_per_minute,
            tokens_per_minute: fallback.tokens_per_minute,
            ..self.clone()
        };
        // A key goes to nobody but its own provider.
        if fallback.base_url.is_some() || fallback.api_key.is_some() {
            model.api_key.clone_from(&fallback.api_key);
        }
        if fallback.base_url.is_some() {
            model.base_url.clone_from(&fallback.base_url);
        }
        Some(model)
    }
}

section! {
    /// The circuit breaker before each of them: when a provider is left alone, and how it is tried again. All processes
    /// on one job store share it, and should agree on these.
    Breaker {
        /// Failures in a row after which a provider is left alone.
        #[schemars(range(min = 1, max = 1_000))]
        failures: u32 = 5,
        /// Percent of failed calls within the window after which it is left alone.
        #[schemars(range(min = 1, max = 100))]
        failure_percent: u32 = 50,
        /// Calls within the window from which on their share of failures counts.
        #[schemars(range(min = 1, max = 100_000))]
        min_calls: u32 = 20,
        /// How far back calls count, in seconds.
        #[schemars(range(min = 1, max = 600))]
        window_s: u64 = 30,
        /// First pause before a provider is tried again, in milliseconds; doubles from there.
        #[schemars(range(min = 10, max = 3_600_000))]
        pause_ms: u64 = 1_000,
        /// Longest of these pauses, in milliseconds.
        #[schemars(range(min = 10, max = 3_600_000))]
        longest_pause_ms: u64 = 30_000,
    }
}
