//! `GET /metrics` of each role.

use ragq::telemetry::metrics::{Metrics, Scope};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::promtool::promtool;
use crate::{
    faults::deployment::{Deployment, Plan},
    support::{app::TestApp, eventually, redis::Server},
};

/// What is scraped at a base address.
pub async fn scrape(url: &str) -> String {
    let answer = reqwest::get(format!("{url}/metrics")).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    answer.text().await.expect("text")
}

/// The value of a series as exported.
pub fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}

fn is(text: &str, series: &str, expected: f64) {
    let found = value(text, series);
    assert!((found - expected).abs() < f64::EPSILON, "{series} is {found}, not {expected}");
}

/// The names of all metrics in a scrape.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

fn declared(scope: Scope) -> Vec<&'static str> {
    let mut names: Vec<_> = Metrics::declared(scope).map(|metric| metric.name).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_question_shows_in_the_metrics_and_promtool_has_nothing_to_say() {
    let app = TestApp::start().await;
    let before = scrape(&app.url).await;
    let mut found = names(&before);
    found.sort_unstable();
    assert_eq!(found, declared(Scope::Deployment));
    assert_eq!(promtool(&["check", "metrics"], &before), "");
    is(&before, r#"ragq_jobs_submitted_total{kind="chat"}"#, 0.0);
    app.put("doc", "Leases", "A worker holds a lease on its job for fifteen seconds.").await;
    app.ask("How long does a worker hold a lease?").await;
    app.submit("/chat", json!({ "query": "later", "collection": "nowhere" })).await;
    let (_, cancelled) = app.send(reqwest::Method::POST, "/admin/queue/pause", Value::Null).await;
    assert_eq!(cancelled["paused"], json!(["chat", "ingest"]));
    let waiting = app.submit("/chat", json!({ "query": "not now" })).await;
    let text = eventually(async || {
        let text = scrape(&app.url).await;
        let dead = value(&text, r#"ragq_dead_letters{reason="permanent"}"#);
        let queued = value(&text, r#"ragq_queue_depth{kind="chat",status="queued"}"#);
        (dead > 0.0 && queued > 0.0).then_some(text)
    })
    .await;
    for (series, expected) in [
        (r#"ragq_jobs_submitted_total{kind="chat"}"#, 3.0),
        (r#"ragq_jobs_submitted_total{kind="ingest"}"#, 1.0),
        (r#"ragq_jobs_finished_total{kind="chat",outcome="completed"}"#, 1.0),
        (r#"ragq_jobs_finished_total{kind="ingest",outcome="completed"}"#, 1.0),
        (r#"ragq_jobs_dead_lettered_total{kind="chat",reason="permanent"}"#, 1.0),
        (r#"ragq_attempts_total{kind="chat",class="permanent"}"#, 1.0),
        (r#"ragq_failures_total{code="collection_not_found"}"#, 1.0),
        (r#"ragq_job_wait_seconds_count{kind="chat"}"#, 2.0),
        (r#"ragq_job_end_to_end_seconds_count{kind="chat"}"#, 1.0),
        (r#"ragq_retrievals_total{mode="lexical"}"#, 1.0),
        (r#"ragq_ingest_stage_seconds_count{stage="index"}"#, 1.0),
        (r#"ragq_http_requests_total{route="POST /chat",status="2xx"}"#, 3.0),
        (r#"ragq_store_seconds_count{operation="submit"}"#, 4.0),
        ("ragq_store_up", 1.0),
        ("ragq_backlog", 1.0),
        ("ragq_workers", 1.0),
        (r#"ragq_workers_slots{kind="chat"}"#, 64.0),
        (r#"ragq_queue_paused{kind="chat"}"#, 1.0),
        (r#"ragq_jobs_in_flight{kind="chat"}"#, 0.0),
        (r#"ragq_slots{kind="chat"}"#, 64.0),
    ] {
        is(&text, series, expected);
    }
    assert!(value(&text, "ragq_process_cpu_seconds") > 0.0 && value(&text, "ragq_process_resident_memory_bytes") > 1e6);
    assert_eq!(promtool(&["check", "metrics"], &text), "");
    let (_, job) = app.send(reqwest::Method::DELETE, &format!("/jobs/{waiting}"), Value::Null).await;
    assert_eq!(job["status"], "cancelled");
    app.send(reqwest::Method::DELETE, &format!("/jobs/{waiting}"), Value::Null).await;
    is(&scrape(&app.url).await, r#"ragq_jobs_finished_total{kind="chat",outcome="cancelled"}"#, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn a_worker_tells_of_itself_and_an_api_also_of_the_deployment_while_it_can() {
    let deployment = Deployment::start(Server::start(&[]).await, Plan::default()).await;
    let (api, worker) = (deployment.apis[0].url.clone(), deployment.workers[0].url.clone());
    let of_worker = scrape(&worker).await;
    let mut found = names(&of_worker);
    found.sort_unstable();
    assert_eq!(found, declared(Scope::Process));
    assert_eq!(promtool(&["check", "metrics"], &of_worker), "");
    is(&of_worker, r#"ragq_jobs_finished_total{kind="ingest",outcome="completed"}"#, 1.0);
    let of_api = scrape(&api).await;
    is(&of_api, r#"ragq_jobs_submitted_total{kind="ingest"}"#, 1.0);
    is(&of_api, "ragq_workers", 1.0);
    deployment.redis.stop_signal();
    // What was looked at less than a second ago is not looked at again.
    let blind = eventually(async || {
        let text = scrape(&api).await;
        (value(&text, "ragq_store_up") < 1.0).then_some(text)
    })
    .await;
    deployment.redis.cont_signal();
    assert!(value(&blind, "ragq_backlog").is_nan());
    assert_eq!(promtool(&["check", "metrics"], &blind), "");
    eventually(async || (value(&scrape(&api).await, "ragq_store_up") > 0.0).then_some(())).await;
}
