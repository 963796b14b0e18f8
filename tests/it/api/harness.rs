//! A real API on a real port over a real job store and a real index; the test plays the worker.

use std::{path::Path, sync::Arc, time::Duration};

use ragq::{
    api::{
        AdminTokens, ApiKeys, ApiParts, ApiState, Deeds, HealthSource, NothingWatched, Setup, route_templates, router,
    },
    config::{Secret, Settings, settings},
    domain::{
        clock::SystemClock,
        document::{Chunk, DocumentCommit},
        failure::{Code, Failure},
        ids::{Collection, Tenant, WorkerId},
        job::{DeadReason, Delivery, JobError, Kind},
        spent::UsageTotal,
    },
    gate::BreakerView,
    index::{IndexedDocument, PassageIndex, embedded::EmbeddedIndex},
    queue::{
        Deliveries, Fenced, Finish, WorkerInfo,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    telemetry::metrics::{Metrics, Scope, Sets},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::eventually;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);
pub const ADMIN: &str = "the-admin-token";

/// What a test may set before the API starts.
pub struct Options {
    pub api: settings::Api,
    pub queue: settings::Queue,
    pub ingest: settings::Ingest,
    pub admin_token: Option<&'static str>,
    pub health: Arc<dyn HealthSource>,
    pub setup: Setup,
    pub store: SqliteOptions,
}

pub struct App {
    pub url: String,
    pub client: Client,
    pub store: Arc<SqliteJobStore>,
    pub index: Arc<EmbeddedIndex>,
    pub drain: CancellationToken,
    pub deeds: Deeds,
    pub worker: WorkerId,
    pub state: ApiState,
    /// What is served, to be asked without a network between.
    pub router: axum::Router,
    _server: JoinSet<()>,
    dir: TempDir,
}

/// Says always the same.
pub struct Fixed(pub Vec<BreakerView>);

impl HealthSource for Fixed {
    fn breakers(&self) -> Vec<BreakerView> {
        self.0.clone()
    }
}

impl App {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            api: settings::Api::default(),
            queue: settings::Queue::default(),
            ingest: settings::Ingest::default(),
            admin_token: Some(ADMIN),
            health: Arc::new(NothingWatched),
            setup: Setup { queue: "a queue".into(), index: "an index".into(), model: "a <model>".into() },
            store: SqliteOptions::default(),
        };
        change(&mut options);
        options.api.admin_token = options.admin_token.map(Secret::from);
        let settings = Settings { api: options.api.clone(), ..Settings::default() };
        let dir = tempfile::tempdir().unwrap();
        let (store, index) = open(dir.path(), options.store.clone());
        let (drain, deeds) = (CancellationToken::new(), Deeds::default());
        let state = ApiState::new(ApiParts {
            store: store.clone(),
            index: index.clone(),
            clock: Arc::new(SystemClock),
            keys: ApiKeys::new(settings.api_keys().unwrap()),
            admin_tokens: AdminTokens::new(settings.admin_tokens().unwrap()),
            api: options.api,
            queue: options.queue,
            ingest: options.ingest,
            leaving: drain.clone(),
            drain: drain.clone(),
            deeds: deeds.clone(),
            health: options.health,
            setup: options.setup,
            metrics: Metrics::new(Scope::Deployment, Sets { routes: route_templates(), ..Sets::default() }).unwrap(),
            sampling: ragq::telemetry::traces::Sampling::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        let router = router(state.clone());
        let to_serve = router.clone();
        server.spawn(async move { axum::serve(listener, to_serve).await.unwrap() });
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        let worker = WorkerId::boot("test");
        Self { url, client, store, index, drain, deeds, worker, state, router, _server: server, dir }
    }

    /// Where its stores are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.url))
    }

    /// Asks and gives the job's id.
    pub async fn ask(&self, query: &str) -> String {
        let answer = self.post("/chat").json(&json!({ "query": query })).send().await.unwrap();
        text(&expect(answer, 202).await, "job_id")
    }

    pub async fn status(&self, job: &str) -> Value {
        expect(self.get(&format!("/job-status?job_id={job}")).send().await.unwrap(), 200).await
    }

    /// Takes the next job of a kind, as a worker would.
    pub async fn fetch(&self, kind: Kind) -> Delivery {
        let info = WorkerInfo { id: self.worker.clone(), version: "test".into(), slots: [(kind, 1)].into() };
        self.store.heartbeat(&info).await.unwrap();
        eventually(async || self.store.fetch(&self.worker, kind, 1).await.unwrap().pop()).await
    }

    pub async fn delta(&self, delivery: &Delivery, text: &str) {
        let written = self.store.append_delta(&delivery.lease, text.into()).await.unwrap();
        assert!(matches!(written, Fenced::Applied(_)));
    }

    pub async fn complete(&self, delivery: &Delivery, answer: &str) {
        let result = json!({ "answer": answer });
        let finish = Finish::Completed { result, document: None, turn: None };
        assert_eq!(
            self.store.finish(&delivery.lease, finish, UsageTotal::default()).await.unwrap(),
            Fenced::Applied(())
        );
    }

    pub async fn bury(&self, delivery: &Delivery, code: Code) {
        let error = JobError::from(&Failure::new(code, "it failed"));
        let finish = Finish::Dead { reason: DeadReason::Permanent, error };
        assert_eq!(
            self.store.finish(&delivery.lease, finish, UsageTotal::default()).await.unwrap(),
            Fenced::Applied(())
        );
    }

    /// A dead chat job.
    pub async fn dead_letter(&self, query: &str, code: Code) -> String {
        let job = self.ask(query).await;
        self.bury(&self.fetch(Kind::Chat).await, code).await;
        job
    }

    /// Carries out the next ingestion: one chunk for each line of the uploaded text.
    pub async fn ingest(&self, tenant: &Tenant) -> Delivery {
        let delivery = self.fetch(Kind::Ingest).await;
        let document = delivery.document.clone().unwrap();
        let upload = self.store.upload(delivery.lease.job).await.unwrap().unwrap();
        let whole = String::from_utf8(upload).unwrap();
        let chunks = chunks(&whole);
        let commit = DocumentCommit::Replaced {
            title: document.title.clone(),
            made_with: None,
            chunks: chunks.len() as u32,
            text_bytes: whole.len() as u64,
        };
        let indexed = IndexedDocument {
            tenant: tenant.clone(),
            collection: document.collection,
            document_id: document.document_id,
            version: document.version,
            title: document.title,
            source: document.source,
            text: whole,
            chunks,
            vectors: Vec::new(),
            embedding_model: None,
        };
        self.index.put(indexed).await.unwrap();
        let finish = Finish::Completed { result: json!({ "unchanged": false }), document: Some(commit), turn: None };
        assert_eq!(
            self.store.finish(&delivery.lease, finish, UsageTotal::default()).await.unwrap(),
            Fenced::Applied(())
        );
        delivery
    }

    pub async fn collection(&self, name: &str) -> Option<Value> {
        let list = expect(self.get("/collections").send().await.unwrap(), 200).await;
        let name = Collection::from(name);
        list["items"].as_array().unwrap().iter().find(|item| item["name"] == name.as_str()).cloned()
    }
}

fn open(dir: &Path, options: SqliteOptions) -> (Arc<SqliteJobStore>, Arc<EmbeddedIndex>) {
    let store = SqliteJobStore::open(&dir.join("jobs.db"), options, Arc::new(SystemClock)).unwrap();
    let index = EmbeddedIndex::open(&dir.join("index.db")).unwrap();
    (Arc::new(store), Arc::new(index))
}

fn chunks(text: &str) -> Vec<Chunk> {
    let mut start = 0;
    let lines = text.split_inclusive('\n').enumerate();
    let chunk = |(ordinal, line): (usize, &str)| {
        let begin = start;
        start += line.len();
        Chunk { ordinal: ordinal as u32, start: begin, end: start, headings: Vec::new(), text: line.into() }
    };
    lines.map(chunk).collect()
}

/// The request with the admin token.
pub fn admin(request: RequestBuilder) -> RequestBuilder {
    request.bearer_auth(ADMIN)
}

/// The answer's JSON, when it has this status.
pub async fn expect(answer: Response, status: u16) -> Value {
    let found = answer.status();
    let body = answer.text().await.unwrap();
    assert_eq!(found.as_u16(), status, "{body}");
    serde_json::from_str(&body).unwrap_or(Value::Null)
}

/// The answer's problem, checked for what all problems have.
pub async fn problem(answer: Response, status: u16, code: &str) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = StatusCode::from_u16(status).unwrap();
    let body = expect(answer, status.as_u16()).await;
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["request_id"], request_id.as_str());
    assert_eq!(body["type"], format!("urn:ragq:problem:{code}"));
    assert!(!text(&body, "title").is_empty() && !text(&body, "detail").is_empty());
    body
}

/// The names of the wrong fields.
pub fn fields(problem: &Value) -> Vec<String> {
    problem["errors"].as_array().unwrap().iter().map(|error| text(error, "field")).collect()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

pub fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}
