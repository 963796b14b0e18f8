//! The stores a deployment names: opened, shown to the process through their ports, closed at the end.

use std::{
    error::Error,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use redis::aio::MultiplexedConnection;

use super::AppError;
use crate::{
    config::{
        Secret, Settings,
        settings::{Durability, RedisMode},
    },
    domain::clock::{Clock, SystemClock},
    index::{
        PassageIndex,
        embedded::EmbeddedIndex,
        qdrant::{self, QdrantIndex},
    },
    queue::{
        SharedJobStore,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Link, LinkError, LinkOptions, Mode},
        },
        sqlite::{SqliteJobStore, SqliteOptions},
    },
};

/// How long one call goes on trying to reach Redis before its caller is told: a restart or a failover is mostly
/// over by then, and a caller of the API has not given up yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// The data folder, locked for as long as this lives.
pub(super) struct Folder {
    _lock: File,
}

/// An open job store.
pub(super) enum OpenStore {
    Embedded(Arc<SqliteJobStore>),
    Redis(Arc<RedisJobStore>),
}

impl OpenStore {
    pub(super) fn port(&self) -> SharedJobStore {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::Redis(store) => store.clone(),
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Redis(store) => store.close().await,
        }
    }
}

/// An open passage index.
pub(super) enum OpenIndex {
    Embedded(Arc<EmbeddedIndex>),
    Qdrant(Arc<QdrantIndex>),
}

impl OpenIndex {
    pub(super) fn port(&self) -> Arc<dyn PassageIndex> {
        match self {
            Self::Embedded(index) => index.clone(),
            Self::Qdrant(index) => index.clone(),
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Embedded(index) => {
                if let Err(error) = index.close().await {
                    tracing::warn!(error = &error as &dyn Error, "closing the index failed");
                }
            }
            Self::Qdrant(_) => {}
        }
    }
}

/// The data folder, if any store is embedded; the lock on it ends with the process, however that ends.
pub(super) fn folder(settings: &Settings) -> Result<Option<Folder>, AppError> {
    if settings.store.redis_url.is_some() && settings.index.qdrant_url.is_some() {
        return Ok(None);
    }
    let data: &Path = &settings.store.data_dir;
    let unusable = |error| AppError::Data(data.to_owned(), error);
    std::fs::create_dir_all(data).map_err(unusable)?;
    let file = File::options().create(true).truncate(false).write(true).open(data.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Folder { _lock: file })),
        Err(TryLockError::WouldBlock) => Err(AppError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// The job store, what to call it, and what to warn of.
pub(super) async fn store(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<(OpenStore, String, Vec<String>), AppError> {
    let Some(url) = &settings.store.redis_url else {
        let path = settings.store.data_dir.join("jobs.db");
        let store = SqliteJobStore::open(&path, sqlite_options(settings), clock.clone()).map_err(AppError::Store)?;
        let setup = "embedded (SQLite, synced to disk before a job is accepted)";
        return Ok((OpenStore::Embedded(Arc::new(store)), setup.to_owned(), Vec::new()));
    };
    let (link, options) = link(settings, url)?;
    let warnings = link.check().await?.into_iter().map(|warning| warning.to_string()).collect();
    let queue = &settings.queue;
    let durability = match (queue.durability, queue.min_replicas) {
        (Durability::Server, 0) => "as durable as Redis is set up".to_owned(),
        (Durability::Fsync, 0) => "synced to disk before a job is accepted".to_owned(),
        (Durability::Server, replicas) => format!("on {replicas} replicas before a job is accepted"),
        (Durability::Fsync, replicas) => format!("synced to disk and on {replicas} replicas before a job is accepted"),
    };
    let setup = format!("Redis at {} ({durability})", link.hosts());
    Ok((OpenStore::Redis(Arc::new(RedisJobStore::new(link, options))), setup, warnings))
}

fn link(settings: &Settings, url: &Secret) -> Result<(Link, RedisOptions), LinkError> {
    let options = redis_options(settings);
    Ok((Link::new(link_options(settings, url, options.key()))?, options))
}

/// The job store by itself, for those who measure it.
pub struct Queue {
    open: OpenStore,
    warnings: Vec<String>,
}

impl Queue {
    /// Opens the job store that the settings name; no other process may have an embedded one open.
    pub async fn open(settings: &Settings) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (open, _, warnings) = store(settings, &clock).await?;
        Ok(Self { open, warnings })
    }

    /// The store.
    pub fn store(&self) -> SharedJobStore {
        self.open.port()
    }

    /// What the operator should know of it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Closes it; nothing may use it any more.
    pub async fn close(self) {
        self.open.close().await;
    }
}

/// A connection to the Redis that the settings name, beside the store's own; none if they name none.
pub async fn redis_connection(settings: &Settings) -> Result<Option<MultiplexedConnection>, AppError> {
    let Some(url) = &settings.store.redis_url else { return Ok(None) };
    Ok(Some(link(settings, url)?.0.dedicated().await?))
}

/// The passage index and what to call it.
pub(super) fn index(settings: &Settings) -> Result<(OpenIndex, String), AppError> {
    if let Some(options) = qdrant::Options::from_settings(&settings.index) {
        let setup = format!("Qdrant at {}, collection {}", options.url, options.collection);
        return Ok((OpenIndex::Qdrant(Arc::new(QdrantIndex::connect(options)?)), setup));
    }
    let path: PathBuf = settings.store.data_dir.join("index.db");
    Ok((OpenIndex::Embedded(Arc::new(EmbeddedIndex::open(&path)?)), "embedded (SQLite)".to_owned()))
}

fn sqlite_options(settings: &Settings) -> SqliteOptions {
    let queue = &settings.queue;
    SqliteOptions {
        lease: Duration::from_millis(queue.lease_ms),
        max_lost_leases: queue.max_lost_leases,
        max_jobs: queue.max_jobs,
        max_bytes: queue.max_bytes,
        completed_retention: Duration::from_secs(queue.completed_retention_s),
        dead_retention: Duration::from_secs(queue.dead_retention_s),
        audit_retention: Duration::from_secs(queue.audit_retention_s),
        take_back_all: true,
    }
}

fn redis_options(settings: &Settings) -> RedisOptions {
    let queue = &settings.queue;
    RedisOptions {
        queue: queue.name.clone(),
        lease: Duration::from_millis(queue.lease_ms),
        max_lost_leases: queue.max_lost_leases,
        max_jobs: queue.max_jobs,
        max_bytes: queue.max_bytes,
        completed_retention: Duration::from_secs(queue.completed_retention_s),
        dead_retention: Duration::from_secs(queue.dead_retention_s),
        audit_retention: Duration::from_secs(queue.audit_retention_s),
        max_attempts: queue.max_attempts,
        clock: None,
    }
}

fn link_options(settings: &Settings, url: &Secret, key: String) -> LinkOptions {
    let Settings { redis, queue, .. } = settings;
    LinkOptions {
        url: url.clone(),
        mode: match redis.mode {
            RedisMode::Single => Mode::Single,
            RedisMode::Sentinel => Mode::Sentinel { master: redis.sentinel_master.clone().unwrap_or_default() },
            RedisMode::Cluster => Mode::Cluster,
        },
        key,
        tls_ca_file: redis.tls_ca_file.clone(),
        connect_timeout: Duration::from_millis(redis.connect_timeout_ms),
        response_timeout: Duration::from_millis(redis.response_timeout_ms),
        patience: PATIENCE,
        fsync: queue.durability == Durability::Fsync,
        min_replicas: queue.min_replicas,
        allow_unsafe: queue.allow_unsafe,
    }
}
