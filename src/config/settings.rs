//! The settings themselves: one struct per section, the doc comment of a field is its documentation and its
//! `range` or `length` is checked and documented with it.
//!
//! What involves several settings is in `checks`; where values come from is in `layers`.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

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
        impl $name {
            /// The fields' names in the order of their declaration, which a JSON tree does not keep.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

macro_rules! sections {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ident),* $(,)? }) => {
        section! { $(#[$doc])* $name { $($(#[$fdoc])* $field: $type = $type::default()),* } }
        /// Every section's name with its fields' names, in the order of their declaration.
        pub const SECTIONS: &[(&str, &[&str])] = &[$((stringify!($field), $type::FIELDS)),*];
    };
}

sections! {
    /// All settings.
    Settings {
        /// The HTTP API.
        api: Api,
        /// The durable queue.
        queue: Queue,
        /// Where jobs and documents are kept.
        store: Store,
        /// Reaching Redis or Valkey, when `store.redis_url` names one.
        redis: Redis,
        /// The workers.
        worker: Worker,
        /// Replaying many dead letters.
        replay: Replay,
        /// Taking in documents.
        ingest: Ingest,
        /// The passage index.
        index: Index,
        /// Finding passages.
        retrieval: Retrieval,
        /// The model that answers.
        model: Model,
        /// The model that embeds.
        embedding: Embedding,
        /// The model asked when the first can't answer: its provider is left alone, over its limits, busy, or refuses.
        fallback_1: Fallback,
        /// The model asked when those can't either.
        fallback_2: Fallback,
        /// The circuit breaker before each of them.
        breaker: Breaker,
        /// The commands that talk to a running ragq.
        client: Client,
        /// Logs.
        log: Log,
        /// Traces.
        trace: Trace,
    }
}

section! {
    /// The HTTP API.
    Api {
        /// Address to listen on: an IP address and port, `localhost:PORT`, or `:PORT` for all addresses.
        #[schemars(length(min = 1))]
        listen: String = "127.0.0.1:8080".into(),
        /// API keys as `name:key,...` (or one a line); the name is the tenant, a key has at least 16 characters.
        /// Empty: no keys, one tenant `default`.
        keys: Secret = Secret::default(),
        /// Token of the admin routes; none: every admin route answers 401.
        #[schemars(length(min = 1))]
        admin_token: Option<Secret> = None,
        /// Requests a minute that each key may submit; none: unlimited.
        #[schemars(range(min = 1))]
        rate_per_minute: Option<u32> = None,
        /// Whether listening beyond loopback is allowed without keys.
        allow_anonymous: bool = false,
        /// Largest request body, in bytes.
        #[schemars(range(min = 1024, max = 1_073_741_824))]
        max_body_bytes: u64 = 32 * 1024 * 1024,
        /// Longest question, in characters.
        #[schemars(range(min = 1, max = 1_000_000))]
        max_query_chars: usize = 16_000,
        /// Longest wait for a request's head, also between the requests of one connection, in milliseconds.
        #[schemars(range(min = 100, max = 3_600_000))]
        head_timeout_ms: u64 = 75_000,
        /// Longest long poll, in milliseconds.
        #[schemars(range(max = 60_000))]
        max_wait_ms: u64 = 30_000,
        /// How long an API that was ordered to stop goes on answering after it has begun to say so in
        /// `/health/ready`, in milliseconds: as long as a load balancer that looks there takes to notice.
        #[schemars(range(max = 600_000))]
        drain_delay_ms: u64 = 0,
    }
}

section! {
    /// The durable queue.
    Queue {
        /// Name of the queue on Redis: the prefix of its keys; in braces, so that it lives in one Cluster slot.
        #[schemars(length(min = 3, max = 200))]
        name: String = "{ragq}".into(),
        /// Jobs that may wait before submits are refused.
        #[schemars(range(min = 1, max = 1_000_000_000))]
        max_jobs: u64 = 1_000_000,
        /// Bytes of payloads and uploads that may wait before submits are refused.
        #[schemars(range(min = 1_048_576, max = 1_125_899_906_842_624_u64))]
        max_bytes: u64 = 1024 * 1024 * 1024,
        /// Attempts of a job, unless the request says otherwise.
        #[schemars(range(min = 1, max = 100))]
        max_attempts: u32 = 5,
        /// How long a worker may be silent before its jobs are taken back, in milliseconds.
        #[schemars(range(min = 100, max = 3_600_000))]
        lease_ms: u64 = 15_000,
        /// Lost leases before a job is dead as poison.
        #[schemars(range(min = 1, max = 100))]
        max_lost_leases: u32 = 3,
        /// First wait before a retry, in milliseconds; doubles from there, with full jitter.
        #[schemars(range(min = 1, max = 86_400_000))]
        backoff_base_ms: u64 = 1_000,
        /// Longest wait before a retry, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        backoff_cap_ms: u64 = 60_000,
        /// How long completed and cancelled jobs are kept, in seconds.
        #[schemars(range(min = 1, max = 315_360_000))]
        completed_retention_s: u64 = 24 * 3600,
        /// How long dead letters are kept, in seconds.
        #[schemars(range(min = 1, max = 315_360_000))]
        dead_retention_s: u64 = 14 * 24 * 3600,
        /// How long entries of the audit log are kept, in seconds.
        #[schemars(range(min = 1, max = 3_153_600_000_u64))]
        audit_retention_s: u64 = 90 * 24 * 3600,
        /// When a submit in Redis is answered: `server`, as soon as Redis answers, so that a 202 is as safe as its
        /// own `appendfsync` makes it; `fsync`, when it is on Redis' disk (takes Redis 7.2, or `appendfsync always`).
        /// The embedded job store always syncs.
        durability: Durability = Durability::Server,
        /// Replicas of Redis that must have a submit before it is answered.
        #[schemars(range(max = 16))]
        min_replicas: u32 = 0,
        /// Whether to go on with a Redis that may lose jobs (no append-only file, or it drops keys when its memory
        /// is full), with a warning.
        allow_unsafe: bool = false,
    }
}

section! {
    /// Where jobs and documents are kept.
    Store {
        /// Folder of the embedded stores; made if it is not there.
        #[schemars(length(min = 1))]
        data_dir: PathBuf = PathBuf::from("./data"),
        /// Redis or Valkey to keep the queue in; none: the embedded job store.
        #[schemars(length(min = 1))]
        redis_url: Option<Secret> = None,
    }
}

section! {
    /// Reaching Redis or Valkey, when `store.redis_url` names one.
    Redis {
        /// What the hosts of `store.redis_url` are: `single`, the one server; `sentinel`, sentinels that know it;
        /// `cluster`, nodes of a Cluster. Several hosts stand in one URL, separated by commas.
        mode: RedisMode = RedisMode::Single,
        /// The name under which the sentinels know the server.
        #[schemars(length(min = 1))]
        sentinel_master: Option<String> = None,
        /// Longest time to open a connection, in milliseconds.
        #[schemars(range(min = 1, max = 60_000))]
        connect_timeout_ms: u64 = 2_000,
        /// Longest wait for an answer before the connection is given up and opened anew, in milliseconds; less than
        /// `queue.lease_ms`.
        #[schemars(range(min = 1, max = 60_000))]
        response_timeout_ms: u64 = 2_000,
        /// File with the certificate authorities to trust (PEM), for a `rediss://` URL; none: the system's.
        #[schemars(length(min = 1))]
        tls_ca_file: Option<PathBuf> = None,
    }
}

section! {
    /// The workers.
    Worker {
        /// What its boots are called in the figures; none: the machine's name.
        #[schemars(length(min = 1, max = 200))]
        name: Option<String> = None,
        /// Address on which `ragq worker` answers health probes and metrics, written as `api.listen`; none: it opens no port.
        #[schemars(length(min = 1))]
        listen: Option<String> = None,
        /// Questions worked on at a time.
        #[schemars(range(min = 1, max = 10_000))]
        chat_slots: u32 = 64,
        /// Documents taken in at a time; 0: as many as there are cores.
        #[schemars(range(max = 1_024))]
        ingest_slots: u32 = 0,
        /// How often a worker says that it lives, in milliseconds; at most a third of `queue.lease_ms`.
        #[schemars(range(min = 10, max = 3_600_000))]
        heartbeat_ms: u64 = 3_000,
        /// Longest attempt at a question, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        chat_timeout_ms: u64 = 300_000,
        /// Longest attempt at a document, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        ingest_timeout_ms: u64 = 900_000,
        /// How long running jobs may go on after the order to stop, in milliseconds; what runs longer is handed back
        /// and begins anew. None: 25,000 for `ragq up`; for `ragq worker` 10,000 more than `chat_timeout_ms`, so that
        /// it breaks off no answer.
        #[schemars(range(min = 1, max = 3_600_000))]
        grace_ms: Option<u64> = None,
    }
}

section! {
    /// Replaying many dead letters.
    Replay {
        /// Replayed letters that must have ended before a replay may stop itself; also how many it begins with when
        /// no rate is asked for.
        #[schemars(range(min = 1, max = 100_000))]
        stop_after: u64 = 20,
        /// The share of the ended letters that, dead again with one and the same code, stops a replay; above 1 it
        /// never stops itself.
        #[schemars(range(min = 0.01, max = 2.0))]
        stop_share: f64 = 0.5,
        /// How long a replay waits for another of its letters to end before it goes on without looking, in
        /// milliseconds.
        #[schemars(range(min = 0, max = 3_600_000))]
        patience_ms: u64 = 30_000,
    }
}

section! {
    /// Taking in documents.
    Ingest {
        /// Aimed size of a chunk, in characters; 1200 for embedding models that take 512 tokens at most.
        #[schemars(range(min = 200, max = 8_000))]
        chunk_chars: usize = 2_000,
        /// Largest text taken out of one document, in bytes.
        #[schemars(range(min = 1_024, max = 1_073_741_824))]
        max_text_bytes: u64 = 64 * 1024 * 1024,
        /// Longest time to read one document, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        parser_timeout_ms: u64 = 60_000,
        /// Most memory to read one document with, in bytes.
        #[schemars(range(min = 67_108_864, max = 1_099_511_627_776_u64))]
        parser_memory_bytes: u64 = 1024 * 1024 * 1024,
    }
}

section! {
    /// The passage index.
    Index {
        /// Address of Qdrant's gRPC port (usually 6334), with `https` for TLS; none: the embedded index.
        #[schemars(length(min = 1))]
        qdrant_url: Option<String> = None,
        /// Qdrant's API key; none: no key is sent.
        #[schemars(length(min = 1))]
        qdrant_api_key: Option<Secret> = None,
        /// Collection in Qdrant that holds the index; made if it is not there.
        #[schemars(length(min = 1, max = 200))]
        qdrant_collection: String = "ragq".into(),
        /// Longest time to connect to Qdrant, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        qdrant_connect_timeout_ms: u64 = 3_000,
        /// Longest search or other look-up in Qdrant, its retries included, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        qdrant_read_timeout_ms: u64 = 10_000,
        /// Longest single write to Qdrant (a batch of chunks), its retries included, in milliseconds.
        #[schemars(range(min = 1, max = 86_400_000))]
        qdrant_write_timeout_ms: u64 = 60_000,
    }
}

section! {
    /// Finding passages.
    Retrieval {
        /// Passages given to the model, unless the request says otherwise.
        #[schemars(range(min = 1, max = 50))]
        top_k: usize = 8,
        /// Most tokens of passages in a prompt (estimated).
        #[schemars(range(min = 100, max = 1_000_000))]
        context_tokens: usize = 6_000,
        /// Earlier turns of a conversation that go into the prompt.
        #[schemars(range(max = 100))]
        history_turns: usize = 4,
    }
}

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

impl Model {
    /// Whether answers come from a provider.
    pub const fn has_provider(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
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

impl Worker {
    /// How many documents are taken in at a time.
    pub fn ingestions(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
        if self.ingest_slots == 0 { cores() } else { self.ingest_slots }
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

section! {
    /// The commands that talk to a running ragq.
    Client {
        /// Address of the API that `ragq ask`, `ragq ingest` and the operator's commands talk to.
        #[schemars(length(min = 1))]
        url: String = "http://127.0.0.1:8080".into(),
        /// API key these commands send; none: no Authorization header.
        #[schemars(length(min = 1))]
        api_key: Option<Secret> = None,
    }
}

section! {
    /// Logs.
    Log {
        /// How logs are written: `pretty` for people, `json` for one object a line.
        format: LogFormat = LogFormat::Pretty,
        /// What is logged, in the syntax of tracing's `EnvFilter`.
        #[schemars(length(min = 1))]
        filter: String = "info".into(),
    }
}

section! {
    /// Traces.
    Trace {
        /// OpenTelemetry collector to send traces to. Not in this version: taken note of at start, nothing is sent.
        #[schemars(length(min = 1))]
        otlp_endpoint: Option<String> = None,
    }
}

/// A process that somebody waits for in front of a terminal, or that has few seconds until it is killed.
const SHORT_GRACE: Duration = Duration::from_secs(25);

/// From the end of the longest attempt until its outcome is written.
const SETTLING: Duration = Duration::from_secs(10);

impl Worker {
    /// How long running jobs may go on after the order to stop, of a worker that is a process of its own or not.
    pub fn grace(&self, alone: bool) -> Duration {
        match self.grace_ms {
            Some(given) => Duration::from_millis(given),
            None if alone => Duration::from_millis(self.chat_timeout_ms) + SETTLING,
            None => SHORT_GRACE,
        }
    }
}

/// When a submit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When the server has answered.
    Server,
    /// When it is on the server's disk.
    Fsync,
}

/// What the hosts of the URL of Redis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisMode {
    /// The one server.
    Single,
    /// Sentinels.
    Sentinel,
    /// Nodes of a Cluster.
    Cluster,
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
