//! The settings themselves: one struct per section, the doc comment of a field is its documentation and its
//! `range` or `length` is checked and documented with it.
//!
//! What involves several settings is in `checks`; where values come from is in `layers`.

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

mod model;
mod retrieval;
mod service;
mod stores;
mod worker;

pub use model::{Breaker, Embedding, Fallback, Model};
pub use retrieval::{Index, Retrieval};
pub use service::{Api, Client, Log, LogFormat, Trace};
pub use stores::{Durability, Queue, Redis, RedisMode, Store};
pub use worker::{Ingest, Replay, Worker};

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
