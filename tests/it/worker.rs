//! The worker on a real store with a use case that goes wrong in ways no provider can bring about.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ragq::{
    config::settings::Retrieval,
    domain::{
        clock::SystemClock,
        failure::{Code, Failure},
        ids::{JobId, Tenant},
        job::{JobView, Kind, NewJob, Priority, Status},
        origin::Origin,
    },
    extract::Extractor,
    index::embedded::EmbeddedIndex,
    model::{Bounds, Embedder, extractive::ExtractiveModel},
    queue::{
        Operations as _, SharedJobStore, Submissions as _,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    rag::{ask::Ask, ingest::Ingest, retrieve::Retriever},
    resilience::decision::RetryPolicy,
    telemetry::metrics::{Metrics, Scope, Sets},
    worker::{KindSettings, Processor, Stop, Worker, WorkerSettings, upkeep},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::{eventually, process::RAGQ};

/// Panics the first so many times.
struct Panicking {
    left: AtomicUsize,
}

#[async_trait]
impl Embedder for Panicking {
    fn model(&self) -> &'static str {
        "panicking"
    }

    async fn embed(&self, texts: &[String], _: &Bounds) -> Result<Vec<Vec<f32>>, Failure> {
        tokio::task::yield_now().await;
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        assert!(spent, "as the test wants it");
        Ok(vec![vec![1.0]; texts.len()])
    }
}

/// A worker with one slot, and its housekeeping.
struct Running {
    store: Arc<SqliteJobStore>,
    stop: Stop,
    rest: CancellationToken,
    parts: JoinSet<()>,
    _folder: TempDir,
}

impl Running {
    fn start(panics: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open =
            SqliteJobStore::open(&folder.path().join("jobs.db"), SqliteOptions::default(), Arc::new(SystemClock));
        let store = Arc::new(open.unwrap());
        let shared: SharedJobStore = store.clone();
        let index = Arc::new(EmbeddedIndex::open(&folder.path().join("index.db")).unwrap());
        let embedder: Option<Arc<dyn Embedder>> = Some(Arc::new(Panicking { left: panics.into() }));
        let metrics = Metrics::new(Scope::Process, Sets::default()).unwrap();
        let retriever =
            Retriever::new(index.clone(), shared.clone(), embedder.clone(), Retrieval::default(), metrics.clone());
        let ask = Ask::new(shared.clone(), retriever, Arc::new(ExtractiveModel), 0);
        let extractor = Extractor {
            program: PathBuf::from(RAGQ),
            timeout: Duration::from_secs(30),
            memory_bytes: 256 * 1024 * 1024,
            max_text_bytes: 1024 * 1024,
            chunk_chars: 800,
        };
        let ingest = Ingest::new(shared.clone(), shared.clone(), index, embedder, extractor, 8, metrics.clone());
        let slots = KindSettings { slots: 1, timeout: Duration::from_mins(1) };
        let settings = WorkerSettings {
            name: "test".to_owned(),
            kinds: HashMap::from([(Kind::Chat, slots)]),
            heartbeat: Duration::from_secs(1),
            policy: RetryPolicy::new(Duration::from_millis(5), Duration::from_millis(20)),
        };
        let (stop, rest, wake) = (Stop::default(), CancellationToken::new(), Arc::new(Notify::new()));
        let processor = Arc::new(Processor::new(ask, ingest));
        let worker = Worker::new(shared.clone(), processor, settings, wake.clone(), metrics);
        let mut parts = JoinSet::new();
        let order = stop.clone();
        parts.spawn(async move { worker.run(order).await.unwrap() });
        parts.spawn(upkeep::keep(shared, wake, Duration::from_secs(15), rest.clone()));
        Self { store, stop, rest, parts, _folder: folder }
    }

    async fn ask(&self) -> JobId {
        let id = JobId::new(0);
        self.store.submit(new_job(id)).await.unwrap();
        id
    }

    async fn end_of(&self, id: JobId) -> JobView {
        eventually(async || {
            let view = self.store.job(&Tenant::from("default"), id).await.unwrap().unwrap();
            matches!(view.status, Status::Completed | Status::Dead).then_some(view)
        })
        .await
    }

    /// Ends it in order; nothing may still be held.
    async fn finish(mut self) {
        assert_eq!(self.store.stats().await.unwrap().running, 0);
        self.stop.drain.cancel();
        self.parts.join_next().await.unwrap().unwrap();
        self.rest.cancel();
        self.parts.join_next().await.unwrap().unwrap();
        self.store.close().await;
    }
}

fn new_job(id: JobId) -> NewJob {
    NewJob {
        id,
        tenant: Tenant::from("default"),
        kind: Kind::Chat,
        priority: Priority::Normal,
        payload: json!({ "query": "Is anybody there?" }),
        max_attempts: 3,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}

#[tokio::test]
async fn a_panic_uses_an_attempt_and_gives_the_slot_back() {
    let running = Running::start(2);
    let (first, second) = (running.ask().await, running.ask().await);
    let views = [running.end_of(first).await, running.end_of(second).await];
    for view in &views {
        assert_eq!((view.status, view.lost_leases), (Status::Completed, 0), "{view:?}");
    }
    assert_eq!(views.iter().map(|view| view.attempt).sum::<u32>(), 4, "{views:?}");
    running.finish().await;
}

#[tokio::test]
async fn a_job_that_always_panics_is_dead_and_says_why() {
    let running = Running::start(3);
    let id = running.ask().await;
    let view = running.end_of(id).await;
    assert_eq!((view.status, view.attempt), (Status::Dead, 3), "{view:?}");
    assert_eq!(view.error.map(|error| error.code), Some(Code::HandlerPanicked));
    let next = running.ask().await;
    assert_eq!(running.end_of(next).await.status, Status::Completed);
    running.finish().await;
}
