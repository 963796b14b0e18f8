//! Finding passages: the index and what is taken from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

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
