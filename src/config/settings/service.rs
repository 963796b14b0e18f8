//! What serves and what looks in from outside: the API, the commands that talk to it, logs, traces.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

section! {
    /// The HTTP API.
    Api {
        /// Address to listen on: an IP address and port, `localhost:PORT`, or `:PORT` for all addresses.
        #[schemars(length(min = 1))]
        listen: String = "127.0.0.1:8080".into(),
        /// API keys as `name:key,...` (or one a line); the name is the tenant, a key has at least 16 characters.
        /// Empty: no keys, one tenant `default`.
        keys: Secret = Secret::default(),
        /// Token of the admin routes, whose holder the audit log calls `admin`; none, and no `admin_tokens`: every admin
        /// route answers 401.
        #[schemars(length(min = 1))]
        admin_token: Option<Secret> = None,
        /// Admin tokens of several people as `name:token,...` (or one a line); the name is the actor in the audit log, a
        /// token has at least 16 characters. Empty: none but `admin_token`.
        admin_tokens: Secret = Secret::default(),
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
        /// What is logged, in the syntax of tracing's `EnvFilter`. Where it is not set, `ragq up` with `--docs` or
        /// `--ask` on a terminal logs from `warn`, so that the answer can be read.
        #[schemars(length(min = 1))]
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

section! {
    /// Traces.
    Trace {
        /// OpenTelemetry collector to send traces to, by OTLP over HTTP: `http://localhost:4318`; `/v1/traces` is added.
        /// None: no traces.
        #[schemars(length(min = 1))]
        otlp_endpoint: Option<String> = None,
        /// Headers for the collector, as `name=value,...` with values percent-encoded.
        #[schemars(length(min = 1))]
        otlp_headers: Option<Secret> = None,
        /// What the service is called in traces.
        #[schemars(length(min = 1))]
        service_name: String = "ragq".into(),
        /// Share of submitting requests that begin a trace. Where a request brings a trace context, its caller has decided.
        #[schemars(range(min = 0.0, max = 1.0))]
        sample_ratio: f64 = 0.1,
        /// Whether traces hold what providers are asked and what they answer: then whoever reads traces reads that.
        include_content: bool = false,
    }
}

impl Trace {
    /// The headers for the collector, by name; none if they can't be read.
    pub fn headers(&self) -> Option<HashMap<String, String>> {
        let given = self.otlp_headers.as_ref().map_or("", |headers| headers.expose());
        let pairs = given.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            HeaderValue::from_str(&value).ok()?;
            Some((name.trim().parse::<HeaderName>().ok()?.to_string(), value.into_owned()))
        };
        pairs.map(read).collect()
    }
}
