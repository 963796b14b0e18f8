//! Replays of many dead letters through the real parts: the worker of replays, real stores, real processes.

use std::time::Duration;

use ragq::config::Secret;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    app::{ADMIN_TOKEN, TestApp},
    eventually,
    process::Up,
    provider::{Reply, ScriptedProvider},
};

const REFUSED: (u16, &str, &str) = (400, "context_length_exceeded", "too long");

/// A provider that takes no question: each is dead at once.
async fn refusing() -> ScriptedProvider {
    let (status, code, message) = REFUSED;
    ScriptedProvider::start(vec![Reply::default_forever(Reply::error(status, code, message))]).await
}

/// From now on it answers.
fn repaired(provider: &ScriptedProvider) {
    provider.choose(|_| Some(Reply::text("High water [1].")));
}

async fn app(provider: &ScriptedProvider) -> TestApp {
    let url = provider.base_url();
    let app = TestApp::start_with(|settings| {
        settings.model.base_url = Some(url);
        settings.model.api_key = Some(Secret::from("sk-test-0123456789abcdef"));
    })
    .await;
    app.put("tides", "Tides", "The tide table lists high water.").await;
    app
}

/// Asks so many questions and waits until all of them are dead.
async fn dead_letters(app: &TestApp, count: usize) {
    for number in 0..count {
        app.submit("/chat", json!({ "query": format!("Question {number} about the tide table") })).await;
    }
    until(app, |counts| counts["dead"] == count).await;
}

async fn until(app: &TestApp, is: impl Fn(&Value) -> bool) {
    eventually(async || is(&app.get("/admin/queue").await["counts"]).then_some(())).await;
}

async fn replay(app: &TestApp, request: Value) -> String {
    let (status, answer) = app.send(Method::POST, "/admin/dlq/replay", request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer["job_id"].as_str().unwrap().to_owned()
}

/// The replay's state, read by the operator.
async fn view(http: &reqwest::Client, url: &str, token: &str, job: &str) -> Value {
    let request = http.get(format!("{url}/job-status?job_id={job}")).bearer_auth(token);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn ended(app: &TestApp, job: &str) -> Value {
    eventually(async || {
        let view = view(&app.http, &app.url, ADMIN_TOKEN, job).await;
        ["completed", "dead", "cancelled"].contains(&view["status"].as_str().unwrap()).then_some(view)
    })
    .await
}

#[tokio::test]
async fn a_replay_after_the_repair_answers_all_its_letters() {
    let provider = refusing().await;
    let app = app(&provider).await;
    dead_letters(&app, 130).await;
    repaired(&provider);
    let job = replay(&app, json!({ "code": "context_too_long" })).await;
    let view = ended(&app, &job).await;
    let progress = json!({ "matched": 130, "replayed": 130, "skipped": 0, "failed_again": 0 });
    assert_eq!((&view["status"], &view["kind"]), (&json!("completed"), &json!("replay")), "{view}");
    assert_eq!(view["progress"], progress);
    assert_eq!(view["result"]["stopped"], Value::Null);
    until(&app, |counts| counts["completed"] == 132 && counts["dead"] == 0).await;
    let (status, _) = app.send(Method::GET, &format!("/job-status?job_id={job}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "a caller without the operator's token does not see it");
    app.finish().await;
}

#[tokio::test]
async fn a_replay_stops_itself_when_the_same_cause_returns() {
    let provider = refusing().await;
    let app = app(&provider).await;
    dead_letters(&app, 200).await;
    let job = replay(&app, json!({})).await;
    let view = ended(&app, &job).await;
    assert_eq!(view["result"]["stopped"], "same_cause_returned", "{view}");
    let replayed = view["progress"]["replayed"].as_u64().unwrap();
    assert!((20..200).contains(&replayed), "{view}");
    until(&app, |counts| counts["dead"] == 200).await;
    app.finish().await;
}

#[tokio::test]
async fn a_paused_queue_holds_no_replay_up_and_a_slow_one_is_called_off() {
    let provider = refusing().await;
    let app = app(&provider).await;
    dead_letters(&app, 60).await;
    app.send(Method::POST, "/admin/queue/pause", Value::Null).await;
    let job = replay(&app, json!({ "limit": 40 })).await;
    let view = ended(&app, &job).await;
    assert_eq!((&view["progress"]["replayed"], &view["result"]["stopped"]), (&json!(40), &Value::Null), "{view}");
    until(&app, |counts| counts["queued"] == 40 && counts["dead"] == 20).await;

    let job = replay(&app, json!({ "rate_per_second": 0.01 })).await;
    let path = format!("{}/jobs/{job}", app.url);
    eventually(async || {
        let view = self::view(&app.http, &app.url, ADMIN_TOKEN, &job).await;
        (view["progress"]["replayed"] == 1).then_some(())
    })
    .await;
    assert_eq!(app.http.delete(&path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let cancelled: Value = app.http.delete(&path).bearer_auth(ADMIN_TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!((&cancelled["status"], &cancelled["result"]["stopped"]), (&json!("cancelled"), &json!("cancelled")));
    until(&app, |counts| counts["queued"] == 41 && counts["dead"] == 19).await;
    let events = app.http.get(format!("{path}/events")).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let log = events.text().await.unwrap();
    assert!(log.contains("event: cancelled"), "{log}");
    app.finish().await;
}

#[tokio::test]
async fn a_replay_outlives_the_process_that_runs_it() {
    let provider = refusing().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let url = provider.base_url();
    let environment = [("OPENAI_BASE_URL", url.as_str()), ("RAGQ_REPLAY__STOP_SHARE", "2")];
    let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
    let up = Up::start(&data, &environment).await;
    let token = up.admin_token();
    let submit = async |up: &Up, path: &str, body: Value| -> Value {
        let request = http.post(format!("{}{path}", up.url)).bearer_auth(&token).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let counts = async |up: &Up| -> Value {
        let request = http.get(format!("{}/admin/queue", up.url)).bearer_auth(&token);
        request.send().await.unwrap().json::<Value>().await.unwrap()["counts"].clone()
    };
    submit(&up, "/documents", json!({ "title": "Tides", "text": "The tide table lists high water." })).await;
    eventually(async || (counts(&up).await["completed"] == 1).then_some(())).await;
    for number in 0..60 {
        submit(&up, "/chat", json!({ "query": format!("Question {number} about the tide table") })).await;
    }
    eventually(async || (counts(&up).await["dead"] == 60).then_some(())).await;
    repaired(&provider);
    let calls = provider.calls().len();
    let accepted = submit(&up, "/admin/dlq/replay", json!({ "rate_per_second": 25 })).await;
    let job = accepted["job_id"].as_str().unwrap();
    let replayed = async |up: &Up| view(&http, &up.url, &token, job).await["progress"]["replayed"].as_u64();
    eventually(async || replayed(&up).await.filter(|replayed| *replayed >= 5)).await;
    up.kill().await;

    let up = Up::start(&data, &environment).await;
    let ended = eventually(async || {
        let view = view(&http, &up.url, &token, job).await;
        (view["status"] == "completed").then_some(view)
    })
    .await;
    assert_eq!((&ended["deliveries"], &ended["progress"]["replayed"]), (&json!(2), &json!(60)), "{ended}");
    eventually(async || (counts(&up).await["completed"] == 62).then_some(())).await;
    assert_eq!(counts(&up).await["dead"], 0);
    // Each letter was delivered once; only what ran when the process was killed may have been asked twice.
    let again = provider.calls().len() - calls;
    assert!((60..=60 + 64).contains(&again), "{again} calls");
    assert!(up.stop().await.success());
}
