//! Requests, settings with short timeouts, and collecting an answer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use ragq::{
    config::{Settings, settings},
    domain::{
        answer::{Passage, Usage},
        clock::SystemClock,
        failure::Failure,
        ids::{Collection, DocumentId},
    },
    gate::Gates,
    model::{AnswerModel, AnswerPart, AnswerRequest, Bounds, Message, Role, openai::OpenAiModel},
    queue::{
        Cells,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
    telemetry::metrics::{Metrics, Scope, Sets},
};

use crate::support::provider::ScriptedProvider;

/// The key that must appear nowhere.
pub const KEY: &str = "sk-test-0123456789abcdef";
/// A prompt that must appear nowhere.
pub const PROMPT: &str = "Where does the lighthouse keeper keep his spare lamp oil in winter?";

/// A whole answer.
#[derive(Debug, PartialEq)]
pub struct Answered {
    pub text: String,
    pub deltas: usize,
    pub model: String,
    pub usage: Usage,
    pub truncated: bool,
}

/// Settings with timeouts that no busy machine reaches; tests of timeouts shorten the one they mean.
pub fn settings(base_url: &str) -> settings::Model {
    settings::Model {
        base_url: Some(base_url.into()),
        api_key: Some(KEY.into()),
        name: "asked-1".into(),
        connect_timeout_ms: 20_000,
        first_token_timeout_ms: 30_000,
        idle_timeout_ms: 30_000,
        call_timeout_ms: 60_000,
        ..settings::Model::default()
    }
}

pub fn model_of(provider: &ScriptedProvider) -> OpenAiModel {
    model_with(&settings(&provider.base_url()))
}

/// A model behind a gate of its own.
pub fn model_with(settings: &settings::Model) -> OpenAiModel {
    OpenAiModel::new(settings, &gates().chat()[0]).unwrap()
}

/// How long a provider that refuses is left alone.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A job that does not hurry.
pub fn bounds() -> Bounds {
    Bounds { patience: Duration::from_secs(20), ..Bounds::default() }
}

/// Gates that no other process shares, and no other test.
pub fn gates() -> Gates {
    gates_with(|_| ())
}

/// The same with some settings changed.
pub fn gates_with(change: impl FnOnce(&mut Settings)) -> Gates {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = SqliteJobStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).unwrap();
    let mut settings = Settings { model: settings("http://127.0.0.1:1"), ..Settings::default() };
    settings.embedding.model = Some("embed-1".into());
    settings.breaker.pause_ms = SHORTEST_PAUSE.as_millis() as u64;
    change(&mut settings);
    let cells: Arc<dyn Cells> = Arc::new(store);
    Gates::open(&settings, &cells, &Metrics::new(Scope::Process, Sets::default()).unwrap())
}

pub fn passage(text: &str) -> Passage {
    Passage {
        document_id: DocumentId::from("doc"),
        version: 1,
        title: "Title".into(),
        source: None,
        collection: Collection::default(),
        chunk: 0,
        headings: Vec::new(),
        start: 0,
        end: text.len(),
        text: text.into(),
        score: 1.0,
    }
}

pub fn request() -> AnswerRequest {
    AnswerRequest {
        question: PROMPT.into(),
        passages: [passage("The oil\nis in the cellar.")].into(),
        messages: vec![
            Message { role: Role::System, content: "You answer from passages.".into() },
            Message { role: Role::User, content: "Hello?".into() },
            Message { role: Role::Assistant, content: "Good evening.".into() },
            Message { role: Role::User, content: PROMPT.into() },
        ],
        bounds: bounds(),
    }
}

/// The whole answer to `request`; panics if anything follows its end.
pub async fn ask_with(model: &dyn AnswerModel, request: AnswerRequest) -> Result<Answered, Failure> {
    let parts: Vec<AnswerPart> = model.answer(request).await?.try_collect().await?;
    let mut text = String::new();
    for (n, part) in parts.iter().enumerate() {
        match part {
            AnswerPart::Delta(delta) => text.push_str(delta),
            AnswerPart::Done { model, usage, truncated, .. } => {
                assert_eq!(n + 1, parts.len(), "something follows the end");
                return Ok(Answered { text, deltas: n, model: model.clone(), usage: *usage, truncated: *truncated });
            }
        }
    }
    panic!("the stream ended without its end: {parts:?}");
}

pub async fn ask(model: &dyn AnswerModel) -> Result<Answered, Failure> {
    ask_with(model, request()).await
}
