//! What works on jobs: the workers, replays, reading documents.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// A process that somebody waits for in front of a terminal, or that has few seconds until it is killed.
const SHORT_GRACE: Duration = Duration::from_secs(25);

/// From the end of the longest attempt until its outcome is written.
const SETTLING: Duration = Duration::from_secs(10);

impl Worker {
    /// How many documents are taken in at a time.
    pub fn ingestions(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
        if self.ingest_slots == 0 { cores() } else { self.ingest_slots }
    }

    /// How long running jobs may go on after the order to stop, of a worker that is a process of its own or not.
    pub fn grace(&self, alone: bool) -> Duration {
        match self.grace_ms {
            Some(given) => Duration::from_millis(given),
            None if alone => Duration::from_millis(self.chat_timeout_ms) + SETTLING,
            None => SHORT_GRACE,
        }
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
