//! The settings themselves: one struct per section, the doc comment of a field is its documentation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

section! {
    /// All settings.
    Settings {
        /// The HTTP API.
        api: Api = Api::default(),
        /// The durable queue.
        queue: Queue = Queue::default(),
        /// The workers.
        worker: Worker = Worker::default(),
        /// Taking in documents.
        ingest: Ingest = Ingest::default(),
        /// Finding passages.
        retrieval: Retrieval = Retrieval::default(),
        /// The model that answers.
        model: Model = Model::default(),
        /// The model that embeds.
        embedding: Embedding = Embedding::default(),
        /// Logs.
        log: Log = Log::default(),
    }
}

section! {
    /// The HTTP API.
    Api {
        /// Address to listen on.
        listen: String = "127.0.0.1:8080".into(),
        /// API keys as `name:key,...`; the name is the tenant. Empty: no keys, one tenant `default`.
        keys: String = String::new(),
        /// Token of the admin routes; none: every admin route answers 401. Standard name: `RAGQ_ADMIN_TOKEN`.
        admin_token: Option<String> = None,
        /// Requests a minute that each key may submit; none: unlimited.
        rate_per_minute: Option<u32> = None,
        /// Allow listening beyond loopback without keys.
        allow_anonymous: bool = false,
        /// Largest request body, in bytes.
        max_body_bytes: u64 = 32 * 1024 * 1024,
        /// Longest question, in characters.
        max_query_chars: usize = 16_000,
        /// Longest long poll, in milliseconds.
        max_wait_ms: u64 = 30_000,
    }
}

section! {
    /// The durable queue.
    Queue {
        /// Jobs that may wait before submits are refused.
        max_jobs: u64 = 1_000_000,
        /// Bytes of payloads and uploads that may wait before submits are refused.
        max_bytes: u64 = 1024 * 1024 * 1024,
        /// Attempts of a job, unless the request says otherwise.
        max_attempts: u32 = 5,
        /// How long a worker may be silent before its jobs are taken back, in milliseconds.
        lease_ms: u64 = 15_000,
        /// Lost leases before a job is dead as poison.
        max_lost_leases: u32 = 3,
        /// First wait before a retry, in milliseconds; doubles from there, with full jitter.
        backoff_base_ms: u64 = 1_000,
        /// Longest wait before a retry, in milliseconds.
        backoff_cap_ms: u64 = 60_000,
        /// How long completed and cancelled jobs are kept, in seconds.
        completed_retention_s: u64 = 24 * 3600,
        /// How long dead letters are kept, in seconds.
        dead_retention_s: u64 = 14 * 24 * 3600,
    }
}

section! {
    /// The workers.
    Worker {
        /// Questions worked on at a time.
        chat_slots: u32 = 64,
        /// Documents taken in at a time; 0: as many as there are cores.
        ingest_slots: u32 = 0,
        /// How often a worker says that it lives, in milliseconds.
        heartbeat_ms: u64 = 3_000,
        /// Longest attempt at a question, in milliseconds.
        chat_timeout_ms: u64 = 300_000,
        /// Longest attempt at a document, in milliseconds.
        ingest_timeout_ms: u64 = 900_000,
        /// How long running jobs may go on after the order to stop, in milliseconds.
        grace_ms: u64 = 25_000,
    }
}

section! {
    /// Taking in documents.
    Ingest {
        /// Aimed size of a chunk, in characters.
        chunk_chars: usize = 1_200,
        /// Largest text taken out of one document, in bytes.
        max_text_bytes: u64 = 64 * 1024 * 1024,
        /// Longest time to read one document, in milliseconds.
        parser_timeout_ms: u64 = 60_000,
        /// Most memory to read one document with, in bytes.
        parser_memory_bytes: u64 = 1024 * 1024 * 1024,
    }
}

section! {
    /// Finding passages.
    Retrieval {
        /// Passages given to the model, unless the request says otherwise.
        top_k: usize = 8,
        /// Most tokens of passages in a prompt (estimated).
        context_tokens: usize = 6_000,
        /// Earlier turns of a conversation that go into the prompt.
        history_turns: usize = 4,
    }
}

section! {
    /// The model that answers.
    Model {
        /// Base address of an OpenAI-compatible API. Standard name: `OPENAI_BASE_URL`.
        base_url: Option<String> = None,
        /// Key of that API; none: no Authorization header. Standard name: `OPENAI_API_KEY`.
        api_key: Option<String> = None,
        /// Name of the model.
        name: String = "gpt-4o-mini".into(),
        /// Most tokens of an answer.
        max_tokens: u32 = 1_024,
        /// Sampling temperature; none: the provider's default.
        temperature: Option<f32> = None,
        /// Longest time to connect, in milliseconds.
        connect_timeout_ms: u64 = 5_000,
        /// Longest wait for the first token, in milliseconds.
        first_token_timeout_ms: u64 = 60_000,
        /// Longest silence between tokens, in milliseconds.
        idle_timeout_ms: u64 = 30_000,
        /// Longest whole call, in milliseconds.
        call_timeout_ms: u64 = 240_000,
    }
}

section! {
    /// The model that embeds.
    Embedding {
        /// Name of the embedding model; none: lexical retrieval only.
        model: Option<String> = None,
        /// Texts per call when taking in documents.
        batch: usize = 64,
        /// Longest call, in milliseconds.
        timeout_ms: u64 = 30_000,
    }
}

section! {
    /// Logs.
    Log {
        /// `pretty` or `json`.
        format: LogFormat = LogFormat::Pretty,
        /// What is logged, in the syntax of `RUST_LOG`, which is the standard name.
        filter: String = "info".into(),
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}
