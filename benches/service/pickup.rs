//! From an accepted job to its handler, idle: against a bare hop over a channel after a sync of one page.

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ragq::{
    config::settings,
    domain::{
        answer::RetrievalMode,
        clock::{Clock as _, SystemClock},
        document::Chunk,
        failure::Failure,
        ids::{DocumentId, JobId, Tenant},
        job::{Kind, NewJob, Priority, Submitted},
        origin::Origin,
    },
    extract::Extractor,
    index::{Found, IndexedDocument, PassageIndex, SearchQuery},
    model::extractive::ExtractiveModel,
    queue::{
        SharedJobStore,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    rag::{ask::Ask, ingest::Ingest, retrieve::Retriever},
    resilience::decision::RetryPolicy,
    telemetry::metrics::{Metrics, Scope, Sets},
    worker::{KindSettings, Processor, Stop, Worker, WorkerSettings},
};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::usage::quantile;

const ROUNDS: usize = 2_000;

/// An index whose search is the first thing a handler does: tells when that was.
struct Stamp(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl PassageIndex for Stamp {
    async fn put(&self, _: IndexedDocument) -> Result<(), Failure> {
        Ok(())
    }
    async fn remove_versions(&self, _: &Tenant, _: &DocumentId, _: Option<u64>) -> Result<(), Failure> {
        Ok(())
    }
    async fn search(&self, _: SearchQuery) -> Result<Found, Failure> {
        self.0.send(Instant::now()).unwrap();
        Ok(Found { passages: Vec::new(), mode: RetrievalMode::Lexical })
    }
    async fn text(&self, _: &Tenant, _: &DocumentId, _: u64) -> Result<Option<String>, Failure> {
        Ok(None)
    }
    async fn chunks(&self, _: &Tenant, _: &DocumentId, _: u64, _: u32, _: usize) -> Result<Vec<Chunk>, Failure> {
        Ok(Vec::new())
    }
    fn analysis(&self) -> Option<u32> {
        None
    }
    async fn ping(&self) -> Result<(), Failure> {
        Ok(())
    }
}

fn worker(store: SharedJobStore, index: Arc<dyn PassageIndex>) -> Worker {
    let metrics = Metrics::new(Scope::Process, Sets::default()).unwrap();
    let retriever = Retriever::new(index.clone(), store.clone(), None, settings::Retrieval::default(), metrics.clone());
    let ask = Ask::new(store.clone(), retriever, Arc::new(ExtractiveModel), 4);
    let extractor = Extractor {
        program: PathBuf::from(super::server::RAGQ),
        timeout: Duration::from_secs(1),
        memory_bytes: 1 << 30,
        max_text_bytes: 1 << 20,
        chunk_chars: 1_000,
    };
    let ingest = Ingest::new(store.clone(), store.clone(), index, None, extractor, 1, metrics.clone());
    let processor = Arc::new(Processor::new(ask, ingest));
    let settings = WorkerSettings {
        name: "bench".to_owned(),
        kinds: HashMap::from([(Kind::Chat, KindSettings { slots: 64, timeout: Duration::from_mins(1) })]),
        heartbeat: Duration::from_secs(3),
        policy: RetryPolicy::new(Duration::from_secs(1), Duration::from_mins(1)),
    };
    Worker::new(store, processor, settings, Arc::new(Notify::new()), metrics)
}

fn job() -> NewJob {
    NewJob {
        id: JobId::new(SystemClock.now().0),
        tenant: Tenant::default(),
        kind: Kind::Chat,
        priority: Priority::Normal,
        payload: json!({ "kind": "chat", "query": "anything at all" }),
        max_attempts: 5,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}

/// Both in turns, one job at a time.
pub async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::default();
    let store = Arc::new(SqliteJobStore::open(&folder.path().join("jobs.db"), options, Arc::new(SystemClock)).unwrap());
    let shared: SharedJobStore = store.clone();
    let (stamp, mut started) = mpsc::unbounded_channel();
    let stop = Stop::default();
    let working = tokio::spawn(worker(shared.clone(), Arc::new(Stamp(stamp))).run(stop.clone()));

    let mut page = File::create(folder.path().join("page")).unwrap();
    let (ask, mut asked) = mpsc::channel::<()>(1);
    let (hop, mut hopped) = mpsc::unbounded_channel();
    let syncer = std::thread::spawn(move || {
        while asked.blocking_recv().is_some() {
            page.write_all(&[7; 4096]).unwrap();
            page.sync_data().unwrap();
            hop.send(()).unwrap();
        }
    });
    let (mut picked, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let accepted = shared.submit(job()).await.unwrap();
        let sent = Instant::now();
        assert!(matches!(accepted, Submitted::Accepted(_)));
        picked.push(started.recv().await.unwrap().saturating_duration_since(sent));
        let sent = Instant::now();
        ask.send(()).await.unwrap();
        hopped.recv().await.unwrap();
        bare.push(sent.elapsed());
    }
    drop(ask);
    syncer.join().unwrap();
    stop.drain.cancel();
    working.await.unwrap().unwrap();
    drop(shared);
    store.close().await;
    picked.sort_unstable();
    bare.sort_unstable();
    let us = |list: &[Duration], fraction| quantile(list, fraction).as_secs_f64() * 1e6;
    println!(
        "{}",
        json!({
            "bench": "pickup", "rounds": ROUNDS,
            "p50_us": us(&picked, 0.5), "p99_us": us(&picked, 0.99),
            "bare_p50_us": us(&bare, 0.5), "bare_p99_us": us(&bare, 0.99),
            "p99_ratio": us(&picked, 0.99) / us(&bare, 0.99),
        })
    );
}
