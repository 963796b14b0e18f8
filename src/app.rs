//! Puts a process together from its settings: the only place that names adapters.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    config::{Problem, Settings},
    domain::{
        clock::{Clock, SystemClock},
        failure::Failure,
        job::Kind,
    },
    extract::Extractor,
    index::{PassageIndex, embedded::EmbeddedIndex},
    model::{
        AnswerModel, Embedder,
        extractive::ExtractiveModel,
        observed::{Observation, Observed},
        openai::{OpenAiEmbedder, OpenAiModel, SetupError},
    },
    queue::{
        SharedJobStore, StoreError,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    rag::{ask::Ask, ingest::Ingest, retrieve::Retriever},
    resilience::decision::RetryPolicy,
    worker::{KindSettings, Processor, Worker, WorkerSettings},
};

/// A process could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another process has the data folder.
    #[error("{} is in use by another ragq process: stop that one, or give this one a folder of its own with --data", .0.display())]
    InUse(PathBuf),
    /// The data folder can't be used.
    #[error("the data folder {} can't be used", .0.display())]
    Data(PathBuf, #[source] std::io::Error),
    /// The job store can't be opened.
    #[error("the job store can't be opened")]
    Store(#[source] StoreError),
    /// The index can't be opened.
    #[error("the index can't be opened: {}", .0.message)]
    Index(#[from] Failure),
    /// A provider can't be set up.
    #[error("the provider can't be set up: {0}")]
    Provider(#[from] SetupError),
    /// The API keys can't be read.
    #[error("{0}")]
    Keys(#[from] Problem),
}

/// All parts of a process, ready to run.
pub struct App {
    /// The job store.
    pub store: SharedJobStore,
    /// The passage index.
    pub index: Arc<dyn PassageIndex>,
    model: Arc<dyn AnswerModel>,
    embedder: Option<Arc<dyn Embedder>>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    keys: api::ApiKeys,
    health: Arc<Health>,
    program: PathBuf,
    embedded: Embedded,
}

/// The concrete stores of the embedded deployment, to be closed at the end, and the lock on their folder.
struct Embedded {
    store: Arc<SqliteJobStore>,
    index: Arc<EmbeddedIndex>,
    _lock: File,
}

/// What `/health/ready` knows of the parts outside the job store.
struct Health {
    answers: Observation,
    embeddings: Observation,
}

impl api::HealthSource for Health {
    fn degraded(&self) -> Vec<api::Degraded> {
        let parts = [("provider", &self.answers), ("embedding", &self.embeddings)];
        parts
            .into_iter()
            .filter_map(|(component, observation)| {
                let trouble = observation.trouble()?;
                Some(api::Degraded { component: component.into(), code: trouble.code, message: trouble.message })
            })
            .collect()
    }
}

impl App {
    /// The embedded deployment: job store and index as files in `data`. `program` is this binary, which
    /// reads documents in processes of its own. Opens files: blocks for as long as that takes.
    pub fn embedded(settings: Settings, data: &Path, program: PathBuf) -> Result<Self, AppError> {
        let keys = api::ApiKeys::new(settings.api_keys()?);
        let lock = lock(data)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = SqliteOptions {
            lease: Duration::from_millis(settings.queue.lease_ms),
            max_lost_leases: settings.queue.max_lost_leases,
            max_jobs: settings.queue.max_jobs,
            max_bytes: settings.queue.max_bytes,
            completed_retention: Duration::from_secs(settings.queue.completed_retention_s),
            dead_retention: Duration::from_secs(settings.queue.dead_retention_s),
            take_back_all: true,
        };
        let store =
            Arc::new(SqliteJobStore::open(&data.join("jobs.db"), options, clock.clone()).map_err(AppError::Store)?);
        let index = Arc::new(EmbeddedIndex::open(&data.join("index.db"))?);
        let health = Arc::new(Health { answers: Observation::default(), embeddings: Observation::default() });
        let (model, embedder) = models(&settings, &health)?;
        Ok(Self {
            store: store.clone(),
            index: index.clone(),
            model,
            embedder,
            settings,
            clock,
            keys,
            health,
            program,
            embedded: Embedded { store, index, _lock: lock },
        })
    }

    /// What is configured, as shown at start and on the landing page.
    pub fn setup(&self) -> api::Setup {
        let model = match &self.settings.model.base_url {
            _ if !has_provider(&self.settings) => {
                "extractive (no provider configured: quotes the best sentences)".to_owned()
            }
            Some(url) => format!("{} at {url}", self.model.name()),
            None => self.model.name().to_owned(),
        };
        let retrieval = match &self.embedder {
            Some(embedder) => format!("lexical and dense ({})", embedder.model()),
            None => "lexical".to_owned(),
        };
        api::Setup {
            queue: "embedded (SQLite, synced to disk before a job is accepted)".to_owned(),
            index: format!("embedded (SQLite), {retrieval}"),
            model,
        }
    }

    /// How long running jobs may go on after the order to stop.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.settings.worker.grace_ms)
    }

    /// The HTTP API.
    pub fn router(&self, drain: CancellationToken) -> axum::Router {
        api::router(api::ApiState::new(api::ApiParts {
            store: self.store.clone(),
            index: self.index.clone(),
            clock: self.clock.clone(),
            api: self.settings.api.clone(),
            queue: self.settings.queue.clone(),
            ingest: self.settings.ingest.clone(),
            keys: self.keys.clone(),
            admin_token: self.settings.api.admin_token.as_ref().map(|token| api::Token::new(token.expose())),
            drain,
            health: self.health.clone(),
            setup: self.setup(),
        }))
    }

    /// A worker for all kinds of jobs.
    pub fn worker(&self, upkeep: Arc<Notify>) -> Worker {
        let settings = &self.settings;
        let retriever =
            Retriever::new(self.index.clone(), self.store.clone(), self.embedder.clone(), settings.retrieval.clone());
        let ask = Ask::new(self.store.clone(), retriever, self.model.clone(), settings.retrieval.history_turns);
        let extractor = Extractor {
            program: self.program.clone(),
            timeout: Duration::from_millis(settings.ingest.parser_timeout_ms),
            memory_bytes: settings.ingest.parser_memory_bytes,
            max_text_bytes: settings.ingest.max_text_bytes,
            chunk_chars: settings.ingest.chunk_chars,
        };
        let ingest = Ingest::new(
            self.store.clone(),
            self.store.clone(),
            self.index.clone(),
            self.embedder.clone(),
            extractor,
            settings.embedding.batch,
        );
        let processor = Processor::new(self.store.clone(), ask, ingest);
        Worker::new(self.store.clone(), processor, worker_settings(settings), upkeep)
    }

    /// Closes the stores; nothing may use them any more.
    pub async fn close(self) {
        let Embedded { store, index, _lock } = self.embedded;
        drop((self.store, self.index));
        store.close().await;
        if let Err(error) = index.close().await {
            tracing::warn!(%error, "closing the index failed");
        }
    }
}

/// Whether answers come from a provider.
fn has_provider(settings: &Settings) -> bool {
    settings.model.api_key.is_some() || settings.model.base_url.is_some()
}

type Models = (Arc<dyn AnswerModel>, Option<Arc<dyn Embedder>>);

fn models(settings: &Settings, health: &Health) -> Result<Models, SetupError> {
    if !has_provider(settings) {
        return Ok((Arc::new(ExtractiveModel), None));
    }
    let model = Observed::new(OpenAiModel::new(&settings.model)?, health.answers.clone());
    let mut embedder: Option<Arc<dyn Embedder>> = None;
    if settings.embedding.model.is_some() {
        let provider = OpenAiEmbedder::new(&settings.model, &settings.embedding)?;
        embedder = Some(Arc::new(Observed::new(provider, health.embeddings.clone())));
    }
    Ok((Arc::new(model), embedder))
}

fn worker_settings(settings: &Settings) -> WorkerSettings {
    let worker = &settings.worker;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    let ingest_slots = if worker.ingest_slots == 0 { cores } else { worker.ingest_slots };
    WorkerSettings {
        name: "embedded".to_owned(),
        kinds: HashMap::from([
            (
                Kind::Chat,
                KindSettings { slots: worker.chat_slots, timeout: Duration::from_millis(worker.chat_timeout_ms) },
            ),
            (
                Kind::Ingest,
                KindSettings { slots: ingest_slots, timeout: Duration::from_millis(worker.ingest_timeout_ms) },
            ),
        ]),
        heartbeat: Duration::from_millis(worker.heartbeat_ms),
        policy: RetryPolicy::new(
            Duration::from_millis(settings.queue.backoff_base_ms),
            Duration::from_millis(settings.queue.backoff_cap_ms),
        ),
    }
}

/// Makes the data folder and takes the lock on it, which ends with the process however that ends.
fn lock(data: &Path) -> Result<File, AppError> {
    let unusable = |error| AppError::Data(data.to_owned(), error);
    std::fs::create_dir_all(data).map_err(unusable)?;
    let file = File::options().create(true).truncate(false).write(true).open(data.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}
