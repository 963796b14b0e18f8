//! `ragq provider-sim`, the real binary over real HTTP: what it answers, refuses, breaks and counts.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use reqwest::{Response, header::HeaderMap};
use serde_json::{Value, json};

use super::{NOBODY, ragq};
use crate::support::{eventually, process::Up, sim::Sim};

/// A provider that wastes no time, with more arguments.
async fn quick(arguments: &[&str]) -> Sim {
    let quick = ["--first-token-ms", "0", "--token-ms", "0", "--answer-tokens", "24"];
    Sim::start(&[&quick, arguments].concat()).await
}

/// Sixteen tokens of prompt.
fn question() -> Value {
    json!({ "model": "any-1", "messages": [{ "role": "user", "content": "word ".repeat(12) + "word" }] })
}

fn streamed() -> Value {
    let mut body = question();
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    body
}

async fn call(sim: &Sim, path: &str, body: &Value) -> Response {
    sim.http.post(format!("{}{path}", sim.base_url)).json(body).send().await.unwrap()
}

async fn ask(sim: &Sim, body: &Value) -> Response {
    call(sim, "/chat/completions", body).await
}

async fn status(sim: &Sim, body: &Value) -> u16 {
    ask(sim, body).await.status().as_u16()
}

fn header(headers: &HeaderMap, name: &str) -> f64 {
    let value = headers.get(name).unwrap_or_else(|| panic!("no {name} in {headers:?}")).to_str().unwrap();
    value.trim_end_matches('s').parse().unwrap()
}

/// The events of a streamed answer, up to its end.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.take_while(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn said(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn an_answer_is_the_same_streamed_and_whole() {
    let sim = quick(&[]).await;
    let whole: Value = ask(&sim, &question()).await.json().await.unwrap();
    let answer = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(answer.contains("[1]"), "{answer}");
    let usage = json!({ "prompt_tokens": 20, "completion_tokens": 24, "total_tokens": 44 });
    assert_eq!((&whole["usage"], &whole["model"]), (&usage, &"any-1".into()));
    let stream = ask(&sim, &streamed()).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let stream = stream.text().await.unwrap();
    assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
    let events = events(&stream);
    assert_eq!(said(&events), answer);
    assert_eq!(events.last().unwrap()["usage"], usage);
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    // The role, a delta for each token, the finish, the usage.
    assert_eq!(events.len(), 1 + 24 + 1 + 1);
}

#[tokio::test]
async fn max_tokens_cuts_an_answer_and_usage_is_sent_only_when_asked_for() {
    let sim = quick(&[]).await;
    let mut body = streamed();
    body["max_tokens"] = 5.into();
    body["stream_options"] = Value::Null;
    let events = events(&ask(&sim, &body).await.text().await.unwrap());
    assert_eq!(said(&events), "You can see how [1] ");
    let last = events.last().unwrap();
    assert_eq!((&last["choices"][0]["finish_reason"], &last["usage"]), (&"length".into(), &Value::Null));
}

#[tokio::test]
async fn tokens_come_one_after_the_other() {
    let sim = Sim::start(&["--first-token-ms", "0", "--token-ms", "60000"]).await;
    let mut stream = ask(&sim, &streamed()).await;
    let first = stream.chunk().await.unwrap().unwrap();
    assert_eq!(said(&events(std::str::from_utf8(&first).unwrap())), "You ");
    let stats = sim.stats().await;
    assert_eq!((&stats["in_flight"], &stats["completion_tokens"]), (&1.into(), &0.into()), "{stats}");
    drop(stream);
    let stats = eventually(async || {
        let stats = sim.stats().await;
        (stats["in_flight"] == 0).then_some(stats)
    })
    .await;
    let counted = [&stats["closed_by_caller"], &stats["prompt_tokens"], &stats["completion_tokens"]];
    assert_eq!(counted, [1, 20, 1], "{stats}");
}

#[tokio::test]
async fn vectors_depend_on_the_text_alone() {
    let sim = quick(&["--dimensions", "32"]).await;
    let body = json!({ "model": "e-1", "input": ["High water", "a lamp", "high, water!"] });
    let reply: Value = call(&sim, "/embeddings", &body).await.json().await.unwrap();
    let vector = |at: usize| reply["data"][at]["embedding"].as_array().unwrap().clone();
    assert_eq!(vector(0).len(), 32);
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    let one = json!({ "model": "e-1", "input": "High water", "dimensions": 7 });
    let reply: Value = call(&sim, "/embeddings", &one).await.json().await.unwrap();
    assert_eq!(reply["data"][0]["embedding"].as_array().unwrap().len(), 7);
    let models: Value = sim.http.get(format!("{}/models", sim.base_url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(models["data"][0]["id"], "simulated");
}

#[tokio::test]
async fn a_minute_of_requests_is_admitted_and_the_next_is_told_when_to_come_back() {
    let sim = quick(&["--requests-per-minute", "5"]).await;
    for left in (0..5).rev() {
        let reply = ask(&sim, &question()).await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(header(reply.headers(), "x-ratelimit-limit-requests") as u64, 5);
        assert_eq!(header(reply.headers(), "x-ratelimit-remaining-requests") as u64, left);
    }
    let refused = ask(&sim, &question()).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    // One is refilled every 12 seconds.
    let seconds = header(refused.headers(), "retry-after");
    assert!((1.0..=12.0).contains(&seconds), "{seconds}");
    let milliseconds = header(refused.headers(), "retry-after-ms");
    assert!(milliseconds <= seconds * 1e3 && milliseconds > (seconds - 1.0) * 1e3, "{milliseconds}");
    assert!((48.0..=60.0).contains(&header(refused.headers(), "x-ratelimit-reset-requests")));
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    assert_eq!(sim.stats().await["statuses"], json!({ "200": 5, "429": 1 }));
}

#[tokio::test]
async fn tokens_are_charged_with_what_may_be_said_and_settled_with_what_was() {
    // So few in a minute that none come back while the test runs.
    let sim = quick(&["--tokens-per-minute", "400"]).await;
    let mut body = streamed();
    body["max_tokens"] = 300.into();
    // 320 at a time, of which 44 are used.
    for _ in 0..2 {
        assert_eq!(ask(&sim, &body).await.text().await.map(|text| text.contains("[DONE]")).ok(), Some(true));
    }
    body["max_tokens"] = 380.into();
    let refused = ask(&sim, &body).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let left = header(refused.headers(), "x-ratelimit-remaining-tokens");
    assert!((312.0..400.0).contains(&left), "{left}");
    body["max_tokens"] = 381.into();
    let too_large: Value = ask(&sim, &body).await.json().await.unwrap();
    assert!(too_large["error"]["message"].as_str().unwrap().starts_with("Request too large for"), "{too_large}");
}

#[tokio::test]
async fn a_fault_refuses_its_share_of_the_calls() {
    let sim = quick(&["--fault", "529,share=0.25,retry_after=1.5", "--fault", "500,on=embeddings"]).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(status(&sim, &question()).await);
    }
    assert_eq!(statuses, [200, 200, 200, 529, 200, 200, 200, 529]);
    let text = json!({ "model": "e-1", "input": "text" });
    assert_eq!(call(&sim, "/embeddings", &text).await.status(), 500);
    sim.plan(json!({ "faults": ["529,retry_after=1.5"] })).await;
    let refused = ask(&sim, &question()).await;
    assert_eq!((header(refused.headers(), "retry-after"), header(refused.headers(), "retry-after-ms")), (2.0, 1500.0));
}

#[tokio::test]
async fn the_key_can_be_broken_and_mended_while_it_runs() {
    let sim = quick(&["--api-key", "sim-key"]).await;
    let with_key = async |key: &str| {
        let request = sim.http.post(format!("{}/chat/completions", sim.base_url)).bearer_auth(key).json(&question());
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(&sim, &question()).await, with_key("other").await, with_key("sim-key").await), (401, 401, 200));
    sim.plan(json!({ "faults": ["401"] })).await;
    assert_eq!(with_key("sim-key").await, 401);
    sim.plan(json!({ "faults": ["quota"] })).await;
    assert_eq!(with_key("sim-key").await, 429);
    // What a plan leaves out is as it was at the start.
    sim.plan(json!({})).await;
    assert_eq!(with_key("sim-key").await, 200);
    let (refused, why) = sim.change(json!({ "answer_tokens": 0 })).await;
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    assert!(why["error"]["message"].as_str().unwrap().starts_with("answer_tokens must be"), "{why}");
    assert_eq!(with_key("sim-key").await, 200);
}

#[tokio::test]
async fn a_stream_can_be_cut_garbled_or_fall_silent() {
    let sim = quick(&["--fault", "cut,after=2"]).await;
    assert!(ask(&sim, &streamed()).await.text().await.is_err(), "the end is missing");
    sim.plan(json!({ "faults": ["garbage,after=2"] })).await;
    let garbled = ask(&sim, &streamed()).await.text().await.unwrap();
    assert!(garbled.contains("can ") && !garbled.contains("see ") && !garbled.contains("[DONE]"), "{garbled}");
    sim.plan(json!({ "faults": ["stall,after=2"] })).await;
    let mut silent = ask(&sim, &streamed()).await;
    let begun = silent.chunk().await.unwrap().unwrap();
    assert_eq!(said(&events(std::str::from_utf8(&begun).unwrap())), "You can ");
    for fault in ["cut", "garbage"] {
        sim.plan(json!({ "faults": [fault] })).await;
        assert!(ask(&sim, &question()).await.json::<Value>().await.is_err(), "{fault}");
    }
    let stats = sim.stats().await;
    assert_eq!(stats["faults"], json!({ "cut": 2, "garbage": 2, "stall": 1 }));
    assert_eq!((&stats["in_flight"], &stats["statuses"]), (&1.into(), &json!({ "200": 5 })));
}

#[tokio::test]
async fn it_ends_in_good_order_even_if_an_answer_is_stalled() {
    let mut sim = quick(&["--fault", "stall"]).await;
    let mut stalled = ask(&sim, &streamed()).await;
    stalled.chunk().await.unwrap().unwrap();
    sim.signal("INT");
    let ended = tokio::time::timeout(Duration::from_mins(1), sim.child.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
    assert!(stalled.chunk().await.is_err());
}

#[tokio::test]
async fn a_thousand_streams_are_served_at_a_time() {
    let sim = Sim::start(&["--first-token-ms", "0", "--token-ms", "60000"]).await;
    let body = streamed();
    let streams = join_all((0..1_000).map(|_| ask(&sim, &body))).await;
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    let stats = sim.take_stats().await;
    assert_eq!((&stats["calls"], &stats["max_in_flight"]), (&1000.into(), &1000.into()), "{stats}");
    let stats = sim.stats().await;
    assert_eq!((&stats["calls"], &stats["in_flight"]), (&0.into(), &1000.into()), "counted anew: {stats}");
}

#[tokio::test]
async fn ragq_makes_a_cited_answer_of_it() {
    let sim = quick(&["--dimensions", "16"]).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("OPENAI_BASE_URL", sim.base_url.as_str()), ("RAGQ_EMBEDDING__MODEL", "e-1")];
    let up = Up::start(&folder.path().join("data"), &settings).await;
    let ingest = ragq(&up.url, ["ingest", "tides.md"]).file("tides.md", "The sea rises and falls twice a day.");
    ingest.run().await.expect(0);
    let answer = ragq(&up.url, ["ask", "--json", "When does the sea rise?"]).run().await.expect(0);
    let view: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(view["result"]["citations"][0]["index"], 1, "{view}");
    assert_eq!(view["result"]["retrieval"]["mode"], "hybrid", "{view}");
    let stats = sim.stats().await;
    assert_eq!(stats["completion_tokens"], view["result"]["usage"]["completion_tokens"]);
    assert_eq!(stats["operations"], json!({ "chat": 1, "embeddings": 2 }));
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    for (flag, value, says) in [
        ("--fault", "500,share=2", "share must be 0 to 1"),
        ("--answer-tokens", "0", "answer_tokens must be"),
        ("--requests-per-minute", "0", "requests_per_minute must be"),
        ("--listen", "everywhere", "--listen"),
    ] {
        ragq(NOBODY, ["provider-sim", flag, value]).run().await.expect(64).says(&[says]);
    }
}
