//! `POST /chat`.

use ragq::domain::{
    ids::Tenant,
    job::Kind,
    origin::{Origin, TraceId},
};
use ragq::queue::{Deliveries, sqlite::SqliteOptions};
use serde_json::{Value, json};

use super::harness::{App, expect, fields, header, problem, text};

#[tokio::test]
async fn a_question_is_answered_with_its_job_and_where_to_look() {
    let app = App::start().await;
    let request = json!({
        "query": "  How?  ", "conversation_id": "c/1", "collection": "handbook", "top_k": 3, "priority": "high",
        "deadline_ms": 60_000, "max_attempts": 2, "metadata": { "user": "u1", "deep": [1, { "x": null }] },
    });
    let answer = app.post("/chat").json(&request).send().await.unwrap();
    assert_eq!(header(&answer, "retry-after").unwrap(), "1");
    assert!(header(&answer, "idempotent-replayed").is_none());
    let location = header(&answer, "location").unwrap();
    let body = expect(answer, 202).await;
    let job = text(&body, "job_id");
    assert_eq!(body["status"], "queued");
    assert_eq!(body["status_url"], format!("/job-status?job_id={job}"));
    assert_eq!(body["status_url"], location.as_str());
    assert_eq!(body["events_url"], format!("/jobs/{job}/events"));
    assert_eq!(body.as_object().unwrap().len(), 4);
    let delivery = app.fetch(Kind::Chat).await;
    let mut payload = request.clone();
    payload["kind"] = "chat".into();
    assert_eq!(delivery.payload, payload);
    assert_eq!(delivery.max_attempts, 2);
    assert_eq!(delivery.conversation_id.as_deref(), Some("c/1"));
    assert!(delivery.remaining.is_some());
    assert_eq!(delivery.tenant, Tenant::default());
}

#[tokio::test]
async fn the_older_form_takes_the_same_fields_from_the_query_string() {
    let app = App::start().await;
    let path = "/chat?query=How%20long%3F&top_k=3&priority=low&metadata=%7B%22a%22%3A1%7D";
    expect(app.post(path).send().await.unwrap(), 202).await;
    let delivery = app.fetch(Kind::Chat).await;
    let expected =
        json!({ "kind": "chat", "query": "How long?", "top_k": 3, "priority": "low", "metadata": { "a": 1 } });
    assert_eq!(delivery.payload, expected);
    assert_eq!(delivery.max_attempts, 5);
}

#[tokio::test]
async fn a_query_string_that_is_no_utf_8_is_refused_not_mended() {
    let app = App::start().await;
    for path in ["/chat?query=caf%E9", "/chat?query=%ED%A0%80", "/documents?collection=%FF", "/chat?%C3=x&query=a"] {
        let request = if path.starts_with("/chat") { app.post(path) } else { app.get(path) };
        problem(request.send().await.unwrap(), 400, "malformed_request").await;
    }
    expect(app.post("/chat?query=caf%C3%A9+%25+100%").send().await.unwrap(), 202).await;
    assert_eq!(app.fetch(Kind::Chat).await.payload["query"], "café % 100%");
}

#[tokio::test]
async fn fields_in_body_and_query_string_together_are_refused() {
    let app = App::start().await;
    let answer = app.post("/chat?query=a").json(&json!({ "query": "b" })).send().await.unwrap();
    let problem = problem(answer, 422, "validation_failed").await;
    assert!(text(&problem, "detail").contains("not in both"));
}

#[tokio::test]
async fn a_body_that_says_nothing_leaves_the_older_form_as_it_is() {
    let app = App::start().await;
    for body in [json!({}), Value::Null] {
        expect(app.post("/chat?query=How%3F").json(&body).send().await.unwrap(), 202).await;
        assert_eq!(app.fetch(Kind::Chat).await.payload, json!({ "kind": "chat", "query": "How?" }));
        let refused = problem(app.post("/chat").json(&body).send().await.unwrap(), 422, "validation_failed").await;
        assert_eq!(fields(&refused), ["query"]);
    }
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let app = App::start().await;
    let request = json!({
        "query": " \n ", "conversation_id": "a b", "collection": "../x", "top_k": 51, "priority": "urgent",
        "deadline_ms": 0, "max_attempts": 51, "metadata": [], "temperature": 1,
    });
    let problem = problem(app.post("/chat").json(&request).send().await.unwrap(), 422, "validation_failed").await;
    let expected = [
        "query",
        "conversation_id",
        "collection",
        "top_k",
        "priority",
        "deadline_ms",
        "max_attempts",
        "metadata",
        "temperature",
    ];
    assert_eq!(fields(&problem), expected);
}

#[tokio::test]
async fn empty_overlong_and_missing_questions_are_refused() {
    let app = App::with(|options| options.api.max_query_chars = 10).await;
    for wrong in [json!({}), json!({ "query": "" }), json!({ "query": "äöüäöüäöüäö" }), json!({ "query": 7 })]
    {
        let answer = app.post("/chat").json(&wrong).send().await.unwrap();
        assert_eq!(fields(&problem(answer, 422, "validation_failed").await), ["query"], "{wrong}");
    }
    problem(app.post("/chat").send().await.unwrap(), 422, "validation_failed").await;
    expect(app.post("/chat").json(&json!({ "query": "äöüäöüäöüä" })).send().await.unwrap(), 202).await;
}

#[tokio::test]
async fn metadata_over_16_kib_is_refused() {
    let app = App::start().await;
    let with = |len: usize| json!({ "query": "q", "metadata": { "a": "x".repeat(len) } });
    expect(app.post("/chat").json(&with(16_384 - 8)).send().await.unwrap(), 202).await;
    let answer = app.post("/chat").json(&with(16_384 - 7)).send().await.unwrap();
    assert_eq!(fields(&problem(answer, 422, "validation_failed").await), ["metadata"]);
}

#[tokio::test]
async fn bad_json_is_told_by_place_and_never_shown_back() {
    let app = App::start().await;
    let send = |body: &'static str| app.post("/chat").header("content-type", "application/json").body(body).send();
    let answer = send("{\n  \"query\": SECRET }").await.unwrap();
    let refused = problem(answer, 400, "invalid_json").await;
    assert!(text(&refused, "detail").contains("line 2, column"), "{refused}");
    assert!(!refused.to_string().contains("SECRET"));
    for body in ["{", "{\"query\":\"\\ud800\"}", "nope", "\u{feff}{}"] {
        problem(send(body).await.unwrap(), 400, "invalid_json").await;
    }
    let deep = "[".repeat(100_000);
    let answer = app.post("/chat").header("content-type", "application/json").body(deep).send().await.unwrap();
    problem(answer, 400, "invalid_json").await;
    problem(send("[]").await.unwrap(), 422, "validation_failed").await;
}

#[tokio::test]
async fn only_json_is_read() {
    let app = App::start().await;
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "nonsense"] {
        let answer = app.post("/chat").header("content-type", wrong).body("{\"query\":\"q\"}").send().await.unwrap();
        problem(answer, 415, "unsupported_media_type").await;
    }
    for right in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
        let answer = app.post("/chat").header("content-type", right).body("{\"query\":\"q\"}").send().await.unwrap();
        expect(answer, 202).await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let app = App::with(|options| options.api.max_body_bytes = 1_000).await;
    let body = json!({ "query": "x".repeat(2_000) }).to_string();
    let answer = app.post("/chat").header("content-type", "application/json").body(body.clone()).send().await.unwrap();
    problem(answer, 413, "body_too_large").await;
    let pieces = body.into_bytes().chunks(100).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let answer = app.post("/chat").header("content-type", "application/json").body(stream).send().await.unwrap();
    problem(answer, 413, "body_too_large").await;
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_still_answered() {
    let app = App::with(|options| options.api.max_body_bytes = 10_000).await;
    let body = vec![b'x'; 8_000_000];
    let answer = app.post("/chat").header("content-type", "application/json").body(body).send().await.unwrap();
    problem(answer, 413, "body_too_large").await;
}

#[tokio::test]
async fn the_same_key_and_request_find_the_same_job_however_the_json_is_written() {
    let app = App::start().await;
    let send = |key: &'static str, body: &'static str| {
        let request = app.post("/chat").header("content-type", "application/json");
        request.header("Idempotency-Key", key).body(body).send()
    };
    let first = expect(send("k 1", r#"{"query":"q","metadata":{"a":1,"b":2}}"#).await.unwrap(), 202).await;
    let again = send("\"k 1\"", r#"{ "metadata": {"b":2, "a":1}, "top_k": null, "query": "q" }"#).await.unwrap();
    assert_eq!(header(&again, "idempotent-replayed").unwrap(), "true");
    assert!(header(&again, "location").is_some());
    assert_eq!(expect(again, 202).await, first);
    let other = send("k 1", r#"{"query":"another"}"#).await.unwrap();
    problem(other, 422, "idempotency_key_reused").await;
    assert_ne!(expect(send("k 2", r#"{"query":"q"}"#).await.unwrap(), 202).await, first);
}

#[tokio::test]
async fn an_idempotency_key_holds_over_the_jobs_end() {
    let app = App::start().await;
    let send = || app.post("/chat").header("Idempotency-Key", "k").json(&json!({ "query": "q" })).send();
    let first = expect(send().await.unwrap(), 202).await;
    app.complete(&app.fetch(Kind::Chat).await, "done").await;
    assert_eq!(expect(send().await.unwrap(), 202).await, first);
}

#[tokio::test]
async fn a_malformed_idempotency_key_is_refused() {
    let app = App::start().await;
    for bad in ["", "\"open", "\"\""] {
        let request = app.post("/chat").header("Idempotency-Key", bad).json(&json!({ "query": "q" }));
        let refused = problem(request.send().await.unwrap(), 422, "validation_failed").await;
        assert_eq!(fields(&refused), ["Idempotency-Key"]);
    }
}

#[tokio::test]
async fn a_full_queue_is_a_503_that_says_when_to_come_back() {
    let app = App::with(|options| options.store = SqliteOptions { max_jobs: 1, ..SqliteOptions::default() }).await;
    app.ask("first").await;
    let refused = app.post("/chat").json(&json!({ "query": "second" })).send().await.unwrap();
    assert!(header(&refused, "retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    problem(refused, 503, "queue_full").await;
    app.complete(&app.fetch(Kind::Chat).await, "done").await;
    app.ask("third").await;
}

#[tokio::test]
async fn the_trace_context_travels_with_the_job() {
    let app = App::start().await;
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = app.post("/chat").header("traceparent", context).json(&json!({ "query": "q" }));
    expect(request.send().await.unwrap(), 202).await;
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(delivery.origin.context, Some(context.parse().unwrap()));
    let status = app.status(&delivery.lease.job.to_string()).await;
    assert_eq!(status["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn a_job_and_its_request_and_trace_are_called_alike_unless_the_caller_names_them() {
    let app = App::start().await;
    let answer = app.post("/chat").json(&json!({ "query": "q" })).send().await.unwrap();
    let request = header(&answer, "x-request-id").unwrap();
    let job = expect(answer, 202).await["job_id"].as_str().unwrap().to_owned();
    assert_eq!(job, request);
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(delivery.origin, Origin::default(), "nothing is stored of it");
    let status = app.status(&job).await;
    assert_eq!(status["trace_id"], TraceId::from(delivery.lease.job).to_string());

    let named = app.post("/chat").header("x-request-id", "r-1").json(&json!({ "query": "q" }));
    expect(named.send().await.unwrap(), 202).await;
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(delivery.origin, Origin { request_id: Some("r-1".to_owned()), context: None });
}

#[tokio::test]
async fn a_payload_holds_what_was_sent_and_no_more() {
    let app = App::start().await;
    app.ask("only this").await;
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(delivery.payload, json!({ "kind": "chat", "query": "only this" }));
    assert!(app.store.turns(&Tenant::default(), "c", 1).await.unwrap().is_empty());
    let unknown: Value = app.status(&delivery.lease.job.to_string()).await;
    assert_eq!(unknown["status"], "running");
}
