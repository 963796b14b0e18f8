//! Answering a question by itself: what is held while the provider takes its time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ragq::{
    config::settings::Retrieval as RetrievalSettings,
    domain::{
        answer::{Context, Passage, Retrieval, RetrievalMode},
        clock::{SystemClock, Timestamp},
        failure::{Code, Failure},
        ids::{JobId, Lease},
        job::{Delivery, Kind},
        origin::Origin,
        spent::Spent,
    },
    index::embedded::EmbeddedIndex,
    model::{AnswerModel, AnswerRequest, AnswerStream},
    queue::{
        SharedJobStore,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    rag::{ask::Ask, retrieve::Retriever},
    telemetry::metrics::{Metrics, Scope, Sets},
};
use serde_json::json;

/// Keeps what it is asked.
#[derive(Default)]
struct Asked(Mutex<Option<AnswerRequest>>);

#[async_trait]
impl AnswerModel for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        *self.0.lock().unwrap() = Some(request);
        Err(Failure::new(Code::ProviderOverloaded, "not now"))
    }
}

/// A question that comes back: an earlier attempt retrieved its passages.
fn delivery(passage: Passage) -> Delivery {
    Delivery {
        lease: Lease { job: JobId::new(0), worker: "w".into(), delivery: 2 },
        tenant: "default".into(),
        kind: Kind::Chat,
        payload: json!({ "query": "Where is the oil?", "metadata": { "of": "no interest" } }),
        attempt: 2,
        max_attempts: 3,
        deferrals: 0,
        created_at: Timestamp(0),
        queued_at: Timestamp(0),
        delivered_at: Timestamp(0),
        remaining: None,
        context: Some(Context {
            passages: [passage].into(),
            retrieval: Retrieval { mode: RetrievalMode::Lexical, degraded: false },
        }),
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}

#[tokio::test]
async fn a_question_that_comes_back_waits_with_one_copy_of_its_passages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = Arc::new(SqliteJobStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).unwrap());
    let shared: SharedJobStore = store.clone();
    let index = Arc::new(EmbeddedIndex::open(&folder.path().join("index.db")).unwrap());
    let metrics = Metrics::new(Scope::Process, Sets::default()).unwrap();
    let retriever = Retriever::new(index, shared.clone(), None, RetrievalSettings::default(), metrics);
    let model = Arc::new(Asked::default());
    let ask = Ask::new(shared, retriever, model.clone(), 0);
    let delivery = delivery(Passage {
        document_id: "d".into(),
        version: 1,
        title: "Oil".into(),
        source: None,
        collection: "default".into(),
        chunk: 0,
        headings: Vec::new(),
        start: 0,
        end: 26,
        text: "The oil is in the cellar.\n".into(),
        score: 1.0,
    });
    ask.run(&delivery, &Spent::default()).await.unwrap_err();
    let asked = model.0.lock().unwrap().take().unwrap();
    assert_eq!(asked.question, "Where is the oil?");
    assert!(Arc::ptr_eq(&asked.passages, &delivery.context.as_ref().unwrap().passages));
    drop(ask);
    store.close().await;
}
