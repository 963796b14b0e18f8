//! What becomes of documents when the provider's embeddings fail, and of questions, which are answered without.

use ragq::config::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::row::{ANSWER, Counted};
use crate::support::{
    app::TestApp,
    provider::{Reply, ScriptedProvider},
    qdrant::{self, Fault},
};

const SHORT_MS: u64 = 2_000;

fn vectors() -> Reply {
    Reply::embeddings(8)
}

async fn app_of(provider: &ScriptedProvider, change: impl FnOnce(&mut Settings)) -> TestApp {
    let base_url = provider.base_url();
    TestApp::start_with(|app| {
        app.model.base_url = Some(base_url);
        app.embedding.model = Some("embeds-1".into());
        change(app);
    })
    .await
}

fn document() -> Value {
    json!({ "document_id": "tides", "title": "Tides", "text": "The tide table lists high water and low water." })
}

/// Takes in a document whose embedding fails once in this way, unless the code says that it fails for good.
async fn takes_in(failing: Reply, code: &str, dead: bool, counted: Counted) {
    let failing = failing.for_embeddings();
    let replies = if dead { vec![failing] } else { vec![failing, vectors()] };
    let provider = ScriptedProvider::start(replies).await;
    let app = app_of(&provider, |app| app.embedding.timeout_ms = SHORT_MS).await;
    let job = app.submit("/documents", document()).await;
    let view = app.wait_for(&job).await;
    let log = app.events(&job).await;
    if dead {
        assert_eq!((&view["status"], &view["error"]["code"]), (&"dead".into(), &code.into()), "{view}");
    } else {
        assert_eq!(view["status"], "completed", "{view}");
        let put_back = log.iter().find(|(name, _)| name == "retrying" || name == "deferred");
        assert_eq!(put_back.map(|(_, data)| &data["code"]), Some(&code.into()), "{log:?}");
    }
    let seen = Counted {
        calls: provider.counts().calls,
        attempts: view["attempt"].as_u64().unwrap(),
        deferrals: view["deferrals"].as_u64().unwrap(),
    };
    assert_eq!(seen, counted, "{view}");
    provider.finish();
    app.finish().await;
}

macro_rules! rows {
    ($($name:ident: $reply:expr => $code:literal, dead $dead:literal, calls $calls:literal, attempts $attempts:literal, deferrals $deferrals:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            takes_in($reply, $code, $dead, Counted { calls: $calls, attempts: $attempts, deferrals: $deferrals }).await;
        }
    )*};
}

rows! {
    a_429: Reply::error(429, "rate_limit_exceeded", "slow down").header("retry-after-ms", "300") => "rate_limited", dead false, calls 2, attempts 1, deferrals 1;
    an_empty_account: Reply::error(429, "insufficient_quota", "no money") => "quota_exhausted", dead false, calls 2, attempts 1, deferrals 1;
    a_401: Reply::status(401) => "provider_unauthorized", dead false, calls 2, attempts 1, deferrals 1;
    a_503: Reply::status(503) => "provider_overloaded", dead false, calls 2, attempts 1, deferrals 1;
    a_500: Reply::status(500) => "provider_error", dead false, calls 2, attempts 2, deferrals 0;
    a_page: Reply::html() => "provider_garbled", dead false, calls 2, attempts 2, deferrals 0;
    too_few_vectors: Reply::status(200).json(&json!({ "data": [] })) => "provider_garbled", dead false, calls 2, attempts 2, deferrals 0;
    a_stall: Reply::stall() => "provider_timeout", dead false, calls 2, attempts 2, deferrals 0;
    a_reset: Reply::reset() => "provider_unreachable", dead false, calls 2, attempts 2, deferrals 0;
    a_400: Reply::status(400) => "provider_rejected", dead true, calls 1, attempts 1, deferrals 0;
    a_text_that_is_too_long: Reply::error(400, "context_length_exceeded", "too long") => "context_too_long", dead true, calls 1, attempts 1, deferrals 0;
}

#[tokio::test]
async fn a_question_whose_embedding_fails_is_answered_from_words_alone() {
    let broken = Reply::status(500).for_embeddings();
    let provider = ScriptedProvider::start(vec![vectors(), broken, Reply::text(ANSWER)]).await;
    let app = app_of(&provider, |_| ()).await;
    let job = app.submit("/documents", document()).await;
    assert_eq!(app.wait_for(&job).await["status"], "completed");
    let view = app.ask("What does the tide table list?").await;
    assert_eq!((&view["status"], &view["attempt"]), (&"completed".into(), &1.into()), "{view}");
    assert_eq!(view["result"]["retrieval"], json!({ "mode": "lexical", "degraded": true }), "{view}");
    provider.finish();
    app.finish().await;
}

/// A document of more than six chunks.
fn long_document() -> Value {
    let sentences = (0..600).map(|number| format!("Tide number {number} is higher than the one before it. "));
    json!({ "title": "Tides", "text": sentences.collect::<String>() })
}

/// The provider was sent every chunk of the document once, and those of the calls `again` once more.
fn was_sent_once_but(provider: &ScriptedProvider, again: &[usize], view: &Value) {
    assert_eq!(view["status"], "completed", "{view}");
    let chunks = view["result"]["chunks"].as_u64().unwrap();
    assert!(chunks > 6, "{view}");
    let sent: Vec<Vec<Value>> =
        provider.calls().iter().map(|call| call.body["input"].as_array().unwrap().clone()).collect();
    let twice: usize = again.iter().map(|call| sent[*call].len()).sum();
    let mut all = sent.concat();
    assert_eq!(all.len(), chunks as usize + twice, "only what was not answered is sent again");
    all.sort_by_key(Value::to_string);
    all.dedup();
    assert_eq!(all.len(), chunks as usize);
}

#[tokio::test]
async fn a_document_that_is_put_off_midway_is_not_embedded_twice() {
    let busy = Reply::status(503).header("retry-after-ms", "200").for_embeddings();
    let provider = ScriptedProvider::start(vec![vectors(), vectors(), busy, Reply::default_forever(vectors())]).await;
    let app = app_of(&provider, |app| app.embedding.batch = 2).await;
    let job = app.submit("/documents", long_document()).await;
    let view = app.wait_for(&job).await;
    assert_eq!(view["deferrals"], 1, "{view}");
    was_sent_once_but(&provider, &[2], &view);
    app.finish().await;
}

#[tokio::test]
async fn a_document_that_is_dropped_in_the_middle_of_a_call_is_not_embedded_twice() {
    let stalled = Reply::stall().for_embeddings();
    let provider =
        ScriptedProvider::start(vec![vectors(), vectors(), stalled, Reply::default_forever(vectors())]).await;
    let app = app_of(&provider, |app| app.embedding.batch = 2).await;
    let job = app.submit("/documents", long_document()).await;
    provider.until("the third call", |counts| counts.calls == 3).await;
    app.send(Method::DELETE, &format!("/jobs/{job}"), Value::Null).await;
    let again = app.submit("/documents", long_document()).await;
    was_sent_once_but(&provider, &[2], &app.wait_for(&again).await);
    app.finish().await;
}

#[tokio::test]
async fn a_document_that_the_index_refuses_is_not_embedded_twice() {
    let provider = ScriptedProvider::start(vec![Reply::default_forever(vectors())]).await;
    let qdrant = qdrant::Server::start();
    qdrant.inject("upsert", 0, 1, Fault::Status(tonic::Code::FailedPrecondition, "not now"));
    let app = app_of(&provider, |app| {
        app.embedding.batch = 2;
        app.index.qdrant_url = Some(qdrant.url());
    })
    .await;
    let job = app.submit("/documents", long_document()).await;
    let view = app.wait_for(&job).await;
    assert_eq!(view["attempt"], 2, "{view}");
    was_sent_once_but(&provider, &[], &view);
    // In the index, they are let go: taken in under another name, it is embedded anew.
    let calls = provider.counts().calls;
    let mut other = long_document();
    other["document_id"] = "other".into();
    let job = app.submit("/documents", other).await;
    assert_eq!(app.wait_for(&job).await["status"], "completed");
    assert_eq!(provider.counts().calls, 2 * calls);
    app.finish().await;
}

#[tokio::test]
async fn a_document_is_deleted_while_the_provider_is_left_alone() {
    let refusing = Reply::status(401).for_embeddings();
    let provider = ScriptedProvider::start(vec![vectors(), refusing]).await;
    let app = app_of(&provider, |app| {
        app.breaker.pause_ms = 600_000;
        app.breaker.longest_pause_ms = 600_000;
    })
    .await;
    let job = app.submit("/documents", document()).await;
    assert_eq!(app.wait_for(&job).await["status"], "completed");
    let waits = json!({ "title": "Winds", "text": "West wind brings rain." });
    let waiting = app.submit("/documents", waits).await;
    app.wait_until(&waiting, |view| view["deferrals"] == 1).await;
    let (_, deletion) = app.send(Method::DELETE, "/documents/tides", Value::Null).await;
    let view = app.wait_for(deletion["job_id"].as_str().unwrap()).await;
    assert_eq!((&view["status"], &view["result"]["deleted"]), (&"completed".into(), &true.into()), "{view}");
    assert_ne!(app.get("/admin/queue").await["breakers"][1]["state"], "closed");
    app.send(Method::DELETE, &format!("/jobs/{waiting}"), Value::Null).await;
    provider.finish();
    app.finish().await;
}
