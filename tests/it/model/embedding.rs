//! The embedder against the scripted provider.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ragq::{
    config::settings,
    domain::failure::{Code, Failure},
    gate::Gate,
    model::{
        Embedder,
        openai::{OpenAiEmbedder, SetupError},
    },
};
use serde_json::json;

use super::support::{KEY, bounds, gates, settings as model_settings};
use crate::support::provider::{Reply, ScriptedProvider, vector_of};

fn embedding(model: Option<&str>) -> settings::Embedding {
    settings::Embedding { model: model.map(Into::into), timeout_ms: 20_000, ..settings::Embedding::default() }
}

fn gate() -> Arc<Gate> {
    gates().embeddings().unwrap().clone()
}

fn embedder_of(provider: &ScriptedProvider) -> OpenAiEmbedder {
    OpenAiEmbedder::new(&model_settings(&provider.base_url()), &embedding(Some("embed-1")), &gate()).unwrap()
}

fn texts() -> Vec<String> {
    ["the lamp oil is in the cellar", "the boat sails at nine", "the lamp is lit at dusk"].map(Into::into).to_vec()
}

async fn failure_of(reply: Reply) -> Failure {
    failure_within(20_000, reply).await
}

async fn failure_within(timeout_ms: u64, reply: Reply) -> Failure {
    let provider = ScriptedProvider::start(vec![reply.for_embeddings()]).await;
    let embedding = settings::Embedding { timeout_ms, ..embedding(Some("embed-1")) };
    let embedder = OpenAiEmbedder::new(&model_settings(&provider.base_url()), &embedding, &gate()).unwrap();
    let failure = embedder.embed(&texts(), &bounds()).await.unwrap_err();
    assert_eq!(provider.calls().len(), 1);
    assert!(!format!("{failure:?}").contains(KEY));
    provider.finish();
    failure
}

#[tokio::test]
async fn texts_become_vectors_in_their_order() {
    let provider = ScriptedProvider::start(vec![Reply::embeddings(16)]).await;
    let embedder = embedder_of(&provider);
    let vectors = embedder.embed(&texts(), &bounds()).await.unwrap();
    assert_eq!(vectors, texts().iter().map(|text| vector_of(text, 16)).collect::<Vec<_>>());
    assert_eq!(embedder.model(), "embed-1");
    let call = &provider.calls()[0];
    assert_eq!(call.target, "/v1/embeddings");
    assert_eq!(call.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(call.body, json!({"model": "embed-1", "input": texts(), "encoding_format": "float"}));
}

#[tokio::test]
async fn no_texts_are_no_call() {
    let provider = ScriptedProvider::start(vec![]).await;
    assert!(embedder_of(&provider).embed(&[], &bounds()).await.unwrap().is_empty());
    provider.finish();
}

#[tokio::test]
async fn vectors_without_index_and_usage_are_taken() {
    let bare = json!({"data": [{"embedding": [1, 0.5]}, {"embedding": [2, 0.5]}, {"embedding": [3, 0.5]}]});
    let provider = ScriptedProvider::start(vec![Reply::status(200).json(&bare).for_embeddings()]).await;
    let vectors = embedder_of(&provider).embed(&texts(), &bounds()).await.unwrap();
    assert_eq!(vectors, [[1.0, 0.5], [2.0, 0.5], [3.0, 0.5]]);
}

#[tokio::test]
async fn every_failure_has_its_code_and_is_one_call() {
    for (reply, code) in [
        (Reply::status(200).json(&json!({"data": [{"index": 0, "embedding": [1.0]}]})), Code::ProviderGarbled),
        (Reply::status(200).json(&json!({"data": [{"embedding": "AAAA"}]})), Code::ProviderGarbled),
        (Reply::status(200).json(&json!({"status": "ok"})), Code::ProviderGarbled),
        (
            Reply::status(200)
                .json(&json!({"error": {"message": format!("bad key {KEY}"), "code": "invalid_api_key"}})),
            Code::ProviderUnauthorized,
        ),
        (Reply::status(200).header("content-type", "application/json").body("{\"data\":[{"), Code::ProviderGarbled),
        (Reply::html(), Code::ProviderGarbled),
        (Reply::error(429, "rate_limit_exceeded", "slow"), Code::RateLimited),
        (Reply::error(401, "invalid_api_key", KEY), Code::ProviderUnauthorized),
        (Reply::error(404, "model_not_found", "no such"), Code::ModelNotFound),
        (
            Reply::status(413)
                .json(&json!({"error": "Input validation error: `inputs` must have less than 512 tokens. Given: 600"})),
            Code::ContextTooLong,
        ),
        (Reply::status(503).header("retry-after", "1"), Code::ProviderOverloaded),
        (Reply::status(500), Code::ProviderError),
        (Reply::reset(), Code::ProviderUnreachable),
        (Reply::garbage(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\""), Code::StreamCut),
        (Reply::garbage(b"HTTP/1.1 nonsense\r\n\r\n"), Code::ProviderGarbled),
    ] {
        let failure = failure_of(reply.clone()).await;
        assert_eq!(failure.code, code, "{reply:?} {failure:?}");
    }
    let json = || Reply::stall_after_headers().header("content-type", "application/json");
    for silent in [Reply::stall(), json()] {
        assert_eq!(failure_within(300, silent).await.code, Code::ProviderTimeout);
    }
}

#[tokio::test]
async fn an_embedder_without_a_model_is_a_setup_error() {
    for none in [None, Some(""), Some(" ")] {
        let made = OpenAiEmbedder::new(&settings::Model::default(), &embedding(none), &gate());
        assert!(matches!(made.err(), Some(SetupError::EmbeddingModel)));
    }
}
