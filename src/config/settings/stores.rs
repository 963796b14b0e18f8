//! Where jobs are kept and how safely: the queue, the embedded folder, Redis.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

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

/// When a submit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When the server has answered.
    Server,
    /// When it is on the server's disk.
    Fsync,
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
