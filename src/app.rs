//! Puts a process together from its settings: the only place that names adapters.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

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
    gate::{BreakerView, Gates},
    index::PassageIndex,
    model::{
        AnswerModel, Embedder,
        extractive::ExtractiveModel,
        fallback::Fallback,
        openai::{OpenAiEmbedder, OpenAiModel, SetupError},
    },
    queue::{Cells, SharedJobStore, StoreError, observed::Observed, redis::link::LinkError},
    rag::{ask::Ask, ingest::Ingest, retrieve::Retriever},
    replay::Replayer,
    resilience::decision::RetryPolicy,
    telemetry::{
        metrics::{Metrics, Scope, Sets},
        traces::Sampling,
    },
    worker::{KindSettings, Processor, Worker, WorkerSettings},
};

mod stores;

use stores::{Folder, OpenIndex, OpenStore};
pub use stores::{Queue, redis_connection};

/// Replays that one process runs at a time.
const REPLAYS: u32 = 8;
/// How long one delivery of a replay may last: at a low rate, very long.
const REPLAY_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of it: `ragq up`.
    Everything,
    /// The API and the housekeeping: `ragq api`.
    Api,
    /// The jobs and the housekeeping: `ragq worker`.
    Worker,
}

impl Role {
    /// Whether it answers callers.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Everything | Self::Api)
    }

    /// Whether it works on jobs.
    pub const fn works(self) -> bool {
        matches!(self, Self::Everything | Self::Worker)
    }
}

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
    /// Redis is not there, or not as it has to be.
    #[error(transparent)]
    Redis(#[from] LinkError),
    /// The index can't be opened.
    #[error("the index can't be opened: {}", .0.message)]
    Index(#[from] Failure),
    /// A provider can't be set up.
    #[error("the provider can't be set up: {0}")]
    Provider(#[from] SetupError),
    /// The API keys can't be read.
    #[error("{0}")]
    Keys(#[from] Problem),
    /// The metrics can't be declared.
    #[error("the metrics can't be declared")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

impl AppError {
    /// Whether something that the process depends on is not there at present.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Redis(LinkError::Unreachable(_)))
    }

    /// Whether it can't be mended but by other settings, here or there.
    pub const fn is_misconfigured(&self) -> bool {
        matches!(
            self,
            Self::Redis(LinkError::Options(_) | LinkError::Unsafe(_) | LinkError::Denied(_))
                | Self::Keys(_)
                | Self::Provider(_)
        )
    }
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
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    keys: api::ApiKeys,
    admin_tokens: api::AdminTokens,
    gates: Arc<Gates>,
    deeds: api::Deeds,
    program: PathBuf,
    role: Role,
    queue_setup: String,
    index_setup: String,
    warnings: Vec<String>,
    open: Open,
}

/// What is to be closed at the end, and the lock on the folder of the embedded stores.
struct Open {
    store: OpenStore,
    index: OpenIndex,
    _folder: Option<Folder>,
}

impl api::HealthSource for Gates {
    fn breakers(&self) -> Vec<BreakerView> {
        Self::breakers(self)
    }
}

impl App {
    /// Opens what the settings name: Redis or Qdrant where they are set, else files in the data folder. `program` is
    /// this binary, which reads documents in processes of its own.
    pub async fn open(settings: Settings, role: Role, program: PathBuf) -> Result<Self, AppError> {
        let metrics = metrics(&settings, role, Metrics::new)?;
        Self::open_with(settings, role, program, metrics).await
    }

    /// The same without metrics: so that it can be measured what they cost.
    pub async fn open_uncounted(settings: Settings, role: Role, program: PathBuf) -> Result<Self, AppError> {
        let metrics = metrics(&settings, role, Metrics::uncounted)?;
        Self::open_with(settings, role, program, metrics).await
    }

    async fn open_with(settings: Settings, role: Role, program: PathBuf, metrics: Metrics) -> Result<Self, AppError> {
        // Whoever serves no API is not kept from its work by what is wrong with its keys.
        let (keys, tokens) =
            if role.serves() { (settings.api_keys()?, settings.admin_tokens()?) } else { Default::default() };
        let (keys, admin_tokens) = (api::ApiKeys::new(keys), api::AdminTokens::new(tokens));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = stores::folder(&settings)?;
        let (store, queue_setup, warnings) = stores::store(&settings, &clock).await?;
        let (index, index_setup) = stores::index(&settings)?;
        let port = store.port();
        let cells: Arc<dyn Cells> = port.clone();
        let gates = if role.works() {
            Gates::open(&settings, &cells, &metrics)
        } else {
            Gates::watching(&settings, &cells, &metrics)
        };
        let gates = Arc::new(gates);
        let (model, embedder) = models(&settings, &gates)?;
        Ok(Self {
            store: Arc::new(Observed::new(port, metrics.clone())),
            index: index.port(),
            model,
            embedder,
            settings,
            metrics,
            clock,
            keys,
            admin_tokens,
            gates,
            deeds: api::Deeds::default(),
            program,
            role,
            queue_setup,
            index_setup,
            warnings,
            open: Open { store, index, _folder: folder },
        })
    }

    /// What the process does.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What the operator should know of the stores.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is configured, as shown at start and on the landing page.
    pub fn setup(&self) -> api::Setup {
        let model = match &self.settings.model.base_url {
            // The key may be with the workers alone.
            None if !self.role.works() && self.settings.model.api_key.is_none() => "as the workers have it".to_owned(),
            _ if !self.settings.model.has_provider() => {
                "extractive (no provider configured: quotes the best sentences)".to_owned()
            }
            Some(url) => format!("{} at {url}", self.model.name()),
            None => self.model.name().to_owned(),
        };
        let retrieval = match &self.settings.embedding.model {
            Some(model) => format!("lexical and dense ({model})"),
            None => "lexical".to_owned(),
        };
        api::Setup { queue: self.queue_setup.clone(), index: format!("{}, {retrieval}", self.index_setup), model }
    }

    /// What the app counts.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How long the head of a request may be in coming.
    pub fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.api.head_timeout_ms)
    }

    /// How long running jobs may go on after the order to stop.
    pub fn grace(&self) -> Duration {
        self.settings.worker.grace(!self.role.serves())
    }

    /// How long to go on answering after the order to stop was made known.
    pub fn drain_delay(&self) -> Duration {
        if self.role.serves() { Duration::from_millis(self.settings.api.drain_delay_ms) } else { Duration::ZERO }
    }

    /// How long a worker may be silent.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.settings.queue.lease_ms)
    }

    /// What is answered over HTTP: the API, or of a worker that it lives.
    /// `leaving` makes it say that it is not ready any more, `drain` ends streams and long polls.
    pub fn router(&self, leaving: CancellationToken, drain: CancellationToken) -> axum::Router {
        let state = self.api_state(leaving, drain);
        if self.role.serves() { api::router(state) } else { api::probes(state) }
    }

    /// What operators ordered over HTTP and is under way.
    pub fn deeds(&self) -> api::Deeds {
        self.deeds.clone()
    }

    fn api_state(&self, leaving: CancellationToken, drain: CancellationToken) -> api::ApiState {
        api::ApiState::new(api::ApiParts {
            store: self.store.clone(),
            index: self.index.clone(),
            clock: self.clock.clone(),
            api: self.settings.api.clone(),
            queue: self.settings.queue.clone(),
            ingest: self.settings.ingest.clone(),
            keys: self.keys.clone(),
            admin_tokens: self.admin_tokens.clone(),
            leaving,
            drain,
            deeds: self.deeds.clone(),
            health: self.gates.clone(),
            setup: self.setup(),
            metrics: self.metrics.clone(),
            sampling: Sampling::of(&self.settings.trace),
        })
    }

    /// A worker for all kinds of jobs.
    pub fn worker(&self, upkeep: Arc<Notify>) -> Worker {
        let settings = &self.settings;
        let retriever = Retriever::new(
            self.index.clone(),
            self.store.clone(),
            self.embedder.clone(),
            settings.retrieval.clone(),
            self.metrics.clone(),
        );
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
            self.metrics.clone(),
        );
        let processor = Arc::new(Processor::new(ask, ingest));
        let gates = Kind::ALL.iter().map(|kind| (*kind, self.gates.of(*kind))).collect();
        Worker::new(self.store.clone(), processor, worker_settings(settings), upkeep, self.metrics.clone())
            .behind(gates)
    }

    /// The worker for replays, which runs beside the API: they go on while there are no other workers.
    pub fn replayer(&self, upkeep: Arc<Notify>) -> Worker {
        let handler = Arc::new(Replayer::new(self.store.clone(), self.settings.replay.clone()));
        let kind = KindSettings { slots: REPLAYS, timeout: REPLAY_TIMEOUT };
        let settings = worker_settings(&self.settings);
        let name = format!("{}-api", settings.name);
        let settings = WorkerSettings { name, kinds: HashMap::from([(Kind::Replay, kind)]), ..settings };
        Worker::new(self.store.clone(), handler, settings, upkeep, self.metrics.clone())
    }

    /// Closes the stores; nothing may use them any more.
    pub async fn close(self) {
        let Open { store, index, _folder } = self.open;
        self.gates.close().await;
        drop((self.store, self.index));
        store.close().await;
        index.close().await;
    }
}

type MakeMetrics = fn(Scope, Sets) -> Result<Metrics, metrics_exporter_prometheus::BuildError>;

fn metrics(
    settings: &Settings,
    role: Role,
    make: MakeMetrics,
) -> Result<Metrics, metrics_exporter_prometheus::BuildError> {
    let scope = if role.serves() { Scope::Deployment } else { Scope::Process };
    // An API shows also what workers find of providers that it was not told of itself.
    let providers = if settings.model.has_provider() || !role.works() { settings.models() } else { Vec::new() };
    let providers = providers.into_iter().map(|model| model.provider).collect();
    make(scope, Sets { routes: api::route_templates(), providers })
}

type Models = (Arc<dyn AnswerModel>, Option<Arc<dyn Embedder>>);

fn models(settings: &Settings, gates: &Gates) -> Result<Models, SetupError> {
    if !settings.model.has_provider() {
        return Ok((Arc::new(ExtractiveModel), None));
    }
    let mut models = Vec::new();
    for (model, gate) in settings.models().iter().zip(gates.chat()) {
        models.push(Arc::new(OpenAiModel::new(model, gate)?) as Arc<dyn AnswerModel>);
    }
    let first = models.remove(0);
    let model = if models.is_empty() { first } else { Arc::new(Fallback::new(first, models)) };
    let mut embedder: Option<Arc<dyn Embedder>> = None;
    if let Some(gate) = gates.embeddings() {
        embedder = Some(Arc::new(OpenAiEmbedder::new(&settings.model, &settings.embedding, gate)?));
    }
    Ok((model, embedder))
}

fn worker_settings(settings: &Settings) -> WorkerSettings {
    let worker = &settings.worker;
    WorkerSettings {
        name: process_name(settings),
        kinds: HashMap::from([
            (
                Kind::Chat,
                KindSettings { slots: worker.chat_slots, timeout: Duration::from_millis(worker.chat_timeout_ms) },
            ),
            (
                Kind::Ingest,
                KindSettings { slots: worker.ingestions(), timeout: Duration::from_millis(worker.ingest_timeout_ms) },
            ),
        ]),
        heartbeat: Duration::from_millis(worker.heartbeat_ms),
        policy: RetryPolicy::new(
            Duration::from_millis(settings.queue.backoff_base_ms),
            Duration::from_millis(settings.queue.backoff_cap_ms),
        ),
    }
}

/// What this process is called: the worker's name, else the machine's.
pub fn process_name(settings: &Settings) -> String {
    settings.worker.name.clone().unwrap_or_else(host_name)
}

/// The machine's name, which in a cluster is the pod's: what operators look for first.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "ragq".to_owned() } else { name }
}
