//! Whole journeys of a job through the real parts: real stores, real HTTP, the scripted provider.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ragq::config::{Secret, Settings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    app::TestApp,
    eventually,
    process::Up,
    provider::{Gate, Reply, ScriptedProvider},
    qdrant,
};

const NOTES: &str = "# Release\n\nReleases leave the yard on Tuesdays, after the harbour master has signed.\n";

fn provider_at(provider: &ScriptedProvider) -> impl FnOnce(&mut Settings) {
    let url = provider.base_url();
    move |settings| {
        settings.model.base_url = Some(url);
        settings.model.api_key = Some(Secret::from("sk-test-0123456789abcdef"));
    }
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// The deltas after the last `started`, put together.
fn streamed(events: &[(String, Value)]) -> String {
    let from = events.iter().rposition(|(name, _)| name == "started").unwrap();
    events[from..].iter().filter(|(name, _)| name == "delta").map(|(_, data)| data["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_streams_cites_its_passages_and_is_the_same_in_events_and_result() {
    let provider = ScriptedProvider::start(vec![
        Reply::text("They leave on Tuesdays [1], not on Mondays [7].").pieces(9).usage(40, 9).model("served-model"),
    ])
    .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave the yard?").await;
    assert_eq!(view["status"], "completed", "{view}");
    let result = &view["result"];
    assert_eq!(result["answer"], "They leave on Tuesdays [1], not on Mondays.");
    assert_eq!(result["model"], "served-model");
    assert_eq!(result["usage"], json!({ "prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49 }));
    assert_eq!(result["retrieval"], json!({ "mode": "lexical", "degraded": false }));
    assert_eq!(result["truncated"], false);
    let citations = result["citations"].as_array().unwrap();
    assert_eq!(citations.len(), 1);
    assert_eq!((&citations[0]["index"], &citations[0]["document_id"]), (&json!(1), &json!("release")));

    let events = app.events(view["job_id"].as_str().unwrap()).await;
    assert_eq!(names(&events)[..3], ["created", "started", "passages"]);
    assert_eq!(names(&events).last(), Some(&"completed"));
    assert_eq!(streamed(&events), result["answer"]);
    let sequence: Vec<u64> = events.iter().map(|(_, data)| data["seq"].as_u64().unwrap()).collect();
    assert_eq!(sequence, (0..events.len() as u64).collect::<Vec<_>>());

    // The span points into the document's own text.
    let (start, end) = (citations[0]["start"].as_u64().unwrap(), citations[0]["end"].as_u64().unwrap());
    let text = app.send(Method::GET, "/documents/release/text", Value::Null).await.1;
    assert_eq!(text.as_str().unwrap()[start as usize..end as usize], *citations[0]["text"].as_str().unwrap());
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn a_retry_uses_an_attempt_keeps_its_passages_and_starts_the_answer_anew() {
    let provider = ScriptedProvider::start(vec![
        Reply::text("They leave on Mondays, as far as").pieces(4).cut_after(2),
        Reply::status(500),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave the yard?").await;
    assert_eq!(view["status"], "completed", "{view}");
    assert_eq!((&view["attempt"], &view["deliveries"], &view["lost_leases"]), (&json!(3), &json!(3), &json!(0)));
    assert_eq!(view["result"]["answer"], "On Tuesdays [1].");
    let events = app.events(view["job_id"].as_str().unwrap()).await;
    assert_eq!(streamed(&events), "On Tuesdays [1].");
    let count = |wanted: &str| names(&events).iter().filter(|name| **name == wanted).count();
    assert_eq!((count("started"), count("passages"), count("retrying")), (3, 1, 2), "{events:?}");
    let codes: Vec<_> = events.iter().filter(|(name, _)| name == "retrying").map(|(_, data)| &data["code"]).collect();
    assert_eq!(codes, ["stream_cut", "provider_error"]);
    let spent = &view["usage_total"];
    assert_eq!(spent["calls"], 3, "{spent}");
    let wasted = spent["wasted_tokens"].as_u64().unwrap();
    let all = spent["prompt_tokens"].as_u64().unwrap() + spent["completion_tokens"].as_u64().unwrap();
    let useful = view["result"]["usage"]["total_tokens"].as_u64().unwrap();
    assert!(
        wasted > 0 && wasted + useful == all,
        "{wasted} + {useful} of {all}: the answer that broke off was paid for"
    );
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn a_wrong_key_costs_no_attempt_and_shows_as_degraded_until_it_is_mended() {
    let provider = ScriptedProvider::start(vec![
        Reply::error(401, "invalid_api_key", "Incorrect API key provided"),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let job = app.submit("/chat", json!({ "query": "When do releases leave?" })).await;
    let waiting = app.wait_until(&job, |view| view["deferrals"] == 1).await;
    assert_eq!(waiting["error"]["code"], "provider_unauthorized", "{waiting}");
    assert_eq!(waiting["error"]["class"], "provider_unusable");
    let ready = app.get("/health/ready").await;
    assert_eq!(ready["status"], "degraded", "{ready}");
    let view = app.wait_for(&job).await;
    assert_eq!((&view["status"], &view["attempt"], &view["deliveries"]), (&json!("completed"), &json!(1), &json!(2)));
    let events = app.events(&job).await;
    assert!(names(&events).contains(&"deferred"), "{events:?}");
    assert_ne!(app.get("/health/ready").await["status"], "degraded");
    app.finish().await;
}

#[tokio::test]
async fn while_a_provider_is_away_jobs_wait_in_the_queue_and_all_are_answered_when_it_is_back() {
    const JOBS: usize = 40;
    const SLOTS: u32 = 4;
    let provider = ScriptedProvider::start(vec![Reply::default_forever(Reply::text("On Tuesdays [1]."))]).await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    provider.choose(move |_| is_away.load(Ordering::SeqCst).then(|| Reply::status(500)));
    let app = TestApp::start_with(|settings| {
        provider_at(&provider)(settings);
        settings.worker.chat_slots = SLOTS;
        settings.breaker.pause_ms = 50;
        settings.breaker.longest_pause_ms = 100;
    })
    .await;
    app.put("release", "Release notes", NOTES).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(app.submit("/chat", json!({ "query": "When do releases leave the yard?" })).await);
    }
    provider.until("the failures that trip the breaker and some probes", |counts| counts.calls >= 10).await;
    let figures = app.get("/admin/queue").await;
    let breaker = &figures["breakers"][0];
    assert_ne!(breaker["state"], "closed", "{breaker}");
    assert_eq!((&breaker["provider"], &breaker["code"]), (&json!("openai"), &json!("provider_error")));
    let ready = app.get("/health/ready").await;
    assert_eq!(ready["degraded"][0]["component"], "provider", "{ready}");
    away.store(false, Ordering::SeqCst);
    let failed_calls = provider.calls().len();
    let (mut attempts_used, mut probes) = (0, 0);
    for job in &jobs {
        let view = app.wait_for(job).await;
        assert_eq!(view["status"], "completed", "{view}");
        attempts_used += view["attempt"].as_u64().unwrap() - 1;
        let deferred = app.events(job).await.into_iter().filter(|(name, _)| name == "deferred");
        probes += deferred.filter(|(_, data)| data["message"].as_str().unwrap().contains("tried again")).count() as u64;
    }
    // A call may have failed between the turn of the switch and the look at the count.
    let seen = attempts_used + probes;
    assert!(
        seen <= failed_calls as u64 + 1 && seen + 1 >= failed_calls as u64,
        "{attempts_used} + {probes} of {failed_calls}"
    );
    assert!(attempts_used <= u64::from(SLOTS) + 5, "{attempts_used} attempts were burnt");
    assert_eq!(app.get("/admin/queue").await["breakers"][0]["state"], "closed");
    assert_eq!(app.get("/health/ready").await["status"], "ready");
    app.finish().await;
}

#[tokio::test]
async fn a_question_goes_to_the_fallback_and_the_answer_says_who_served_it() {
    let first = ScriptedProvider::start(vec![Reply::error(429, "insufficient_quota", "no money left")]).await;
    let second = ScriptedProvider::start(vec![Reply::text("On Tuesdays [1].").usage(100, 5)]).await;
    let second_url = second.base_url();
    let app = TestApp::start_with(|settings| {
        provider_at(&first)(settings);
        settings.breaker.pause_ms = 600_000;
        settings.breaker.longest_pause_ms = 600_000;
        settings.fallback_1.name = Some("another-model".into());
        settings.fallback_1.base_url = Some(second_url);
    })
    .await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave the yard?").await;
    assert_eq!((&view["status"], &view["attempt"], &view["deferrals"]), (&json!("completed"), &json!(1), &json!(0)));
    assert_eq!(view["result"]["provider"], "fallback_1", "{view}");
    let spent = json!({ "calls": 2, "prompt_tokens": 100, "completion_tokens": 5, "wasted_tokens": 0 });
    assert_eq!(view["usage_total"], spent, "a refusal costs nothing");
    assert_eq!(second.calls()[0].headers.get("authorization"), None, "a key goes to nobody but its own provider");
    let figures = app.get("/admin/queue").await;
    let shown: Vec<_> =
        figures["breakers"].as_array().unwrap().iter().map(|view| (&view["provider"], &view["state"])).collect();
    assert_eq!(shown, [(&json!("openai"), &json!("open")), (&json!("fallback_1"), &json!("closed"))]);
    first.finish();
    second.finish();
    app.finish().await;
}

#[tokio::test]
async fn what_can_never_succeed_is_dead_at_once_and_can_be_replayed_edited() {
    let provider = ScriptedProvider::start(vec![
        Reply::error(400, "context_length_exceeded", "This model's maximum context length is 10 tokens."),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave, in every detail?").await;
    assert_eq!((&view["status"], &view["attempt"]), (&json!("dead"), &json!(1)), "{view}");
    assert_eq!(view["error"]["code"], "context_too_long");
    let job = view["job_id"].as_str().unwrap();
    let letter = app.get(&format!("/admin/dlq/{job}")).await;
    assert_eq!(letter["reason"], "permanent");
    assert_eq!(letter["payload"]["query"], "When do releases leave, in every detail?");
    let mut payload = letter["payload"].clone();
    payload["query"] = json!("When do releases leave?");
    let (status, body) =
        app.send(Method::POST, &format!("/admin/dlq/{job}/replay"), json!({ "payload": payload })).await;
    assert!(status.is_success(), "{body}");
    let view = app.wait_for(job).await;
    assert_eq!((&view["status"], &view["deliveries"]), (&json!("completed"), &json!(1)), "{view}");
    assert!(names(&app.events(job).await).contains(&"replayed"));
    assert!(provider.calls()[1].body.to_string().contains("When do releases leave?"));
    app.finish().await;
}

#[tokio::test]
async fn cancelling_closes_the_call_and_the_job_stays_cancelled() {
    let provider = ScriptedProvider::start(vec![Reply::text("one two three four").pieces(4).stall_after(2)]).await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let job = app.submit("/chat", json!({ "query": "When do releases leave?" })).await;
    provider.until("the call", |counts| counts.in_flight == 1).await;
    let (status, view) = app.send(Method::DELETE, &format!("/jobs/{job}"), Value::Null).await;
    assert_eq!((status, &view["status"]), (StatusCode::OK, &json!("cancelled")));
    provider.until("the disconnect", |counts| counts.disconnects == 1).await;
    let (status, again) = app.send(Method::DELETE, &format!("/jobs/{job}"), Value::Null).await;
    assert_eq!((status, &again["status"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(names(&app.events(&job).await).last(), Some(&"cancelled"));
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn a_missed_deadline_closes_the_call_and_kills_the_job() {
    let provider = ScriptedProvider::start(vec![Reply::stall()]).await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let job = app.submit("/chat", json!({ "query": "When do releases leave?", "deadline_ms": 400 })).await;
    let view = app.wait_for(&job).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("dead"), &json!("deadline_exceeded")), "{view}");
    provider.until("the disconnect", |counts| counts.disconnects == 1).await;
    app.finish().await;
}

#[tokio::test]
async fn a_follow_up_question_is_searched_and_asked_with_what_came_before() {
    let provider =
        ScriptedProvider::start(vec![Reply::text("The harbour master signs [1]."), Reply::text("On Tuesdays [1].")])
            .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    app.put("garden", "Garden", "The garden gate is painted green. When it rains the gate is shut.").await;
    let first = json!({ "query": "Who signs the releases in the yard?", "conversation_id": "c-1" });
    let job = app.submit("/chat", first).await;
    assert_eq!(app.wait_for(&job).await["status"], "completed");
    let job = app.submit("/chat", json!({ "query": "And when exactly?", "conversation_id": "c-1" })).await;
    let view = app.wait_for(&job).await;
    assert_eq!(view["result"]["citations"][0]["document_id"], "release", "{view}");
    let prompt = provider.calls()[1].body["messages"].to_string();
    assert!(prompt.contains("Who signs the releases in the yard?"), "{prompt}");
    assert!(prompt.contains("The harbour master signs."), "earlier numbers mean nothing now: {prompt}");
    app.finish().await;
}

#[tokio::test]
async fn when_embedding_fails_a_question_is_answered_by_words_alone_and_says_so() {
    let provider = ScriptedProvider::start(vec![
        Reply::embeddings(8),
        Reply::status(500).for_embeddings(),
        Reply::text("On Tuesdays [1]."),
        Reply::embeddings(8),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let configure = provider_at(&provider);
    let app = TestApp::start_with(|settings| {
        configure(settings);
        settings.embedding.model = Some("embedder".to_owned());
    })
    .await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave?").await;
    assert_eq!(view["result"]["retrieval"], json!({ "mode": "lexical", "degraded": true }), "{view}");
    let view = app.ask("When do releases leave?").await;
    assert_eq!(view["result"]["retrieval"], json!({ "mode": "hybrid", "degraded": false }), "{view}");
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn asking_an_empty_system_or_beyond_the_documents_calls_no_model() {
    let provider = ScriptedProvider::start(vec![]).await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    let view = app.ask("Is anybody there?").await;
    assert_eq!((&view["status"], &view["result"]["citations"]), (&json!("completed"), &json!([])), "{view}");
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("Zymurgy quixotic xylophone?").await;
    assert_eq!((&view["status"], &view["result"]["citations"]), (&json!("completed"), &json!([])), "{view}");
    let job = app.submit("/chat", json!({ "query": "Releases?", "collection": "nowhere" })).await;
    let view = app.wait_for(&job).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("dead"), &json!("collection_not_found")), "{view}");
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn questions_are_answered_while_a_long_ingestion_waits_and_runs() {
    let app = TestApp::start_with(|settings| settings.worker.ingest_slots = 1).await;
    app.put("release", "Release notes", NOTES).await;
    let mut jobs = Vec::new();
    for n in 0..60 {
        let text = format!("# Part {n}\n\n{}", "All work and no play makes a long document. ".repeat(400));
        jobs.push(app.submit("/documents", json!({ "title": format!("Part {n}"), "text": text })).await);
    }
    let view = app.ask("When do releases leave the yard?").await;
    assert_eq!(view["status"], "completed");
    let queue = app.get("/admin/queue").await;
    assert!(queue["backlog"].as_u64().unwrap() > 0, "the ingestion was over before the question: {queue}");
    for job in jobs {
        assert_eq!(app.wait_for(&job).await["status"], "completed");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_changed_document_is_replaced_as_a_whole_and_a_deleted_one_is_gone() {
    let app = TestApp::start().await;
    app.put("port", "Port", "The ferry sails at nine from the old pier.").await;
    let unchanged = app.put("port", "Port", "The ferry sails at nine from the old pier.").await;
    assert_eq!(unchanged["result"]["unchanged"], true, "{unchanged}");
    app.put("port", "Port", "The ferry sails at eleven from the new pier.").await;
    let view = app.ask("When does the ferry sail?").await;
    let answer = view["result"]["answer"].as_str().unwrap();
    assert!(answer.contains("eleven") && !answer.contains("nine"), "{answer}");
    let (status, deletion) = app.send(Method::DELETE, "/documents/port", Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    app.wait_for(deletion["job_id"].as_str().unwrap()).await;
    let (status, _) = app.send(Method::GET, "/documents/port", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let view = app.ask("When does the ferry sail?").await;
    assert_eq!(view["result"]["citations"], json!([]), "{view}");
    app.finish().await;
}

#[tokio::test]
async fn draining_finishes_what_runs_and_hands_back_the_rest_uncounted() {
    let gate = Gate::new();
    let provider = ScriptedProvider::start(vec![
        Reply::text("Finished in the grace period [1].").held_by(&gate),
        Reply::stall(),
        Reply::text("Finished by the next process [1]."),
    ])
    .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let first = app.submit("/chat", json!({ "query": "When do releases leave?" })).await;
    provider.until("the first call", |counts| counts.in_flight == 1).await;
    let second = app.submit("/chat", json!({ "query": "Who signs the releases?" })).await;
    provider.until("the second call", |counts| counts.in_flight == 2).await;
    app.begin_drain();
    eventually(async || {
        let (status, ready) = app.send(Method::GET, "/health/ready", Value::Null).await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(ready)
    })
    .await;
    gate.open();
    let data = app.drain().await;
    let app = TestApp::start_in(data, provider_at(&provider)).await;
    let view = app.wait_for(&first).await;
    assert_eq!((&view["deliveries"], &view["attempt"]), (&json!(1), &json!(1)), "{view}");
    assert_eq!(view["result"]["answer"], "Finished in the grace period [1].");
    let view = app.wait_for(&second).await;
    assert_eq!((&view["status"], &view["attempt"], &view["lost_leases"]), (&json!("completed"), &json!(1), &json!(0)));
    assert_eq!(view["deliveries"], 2, "{view}");
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn a_stream_opened_before_the_job_runs_shows_every_event_as_it_comes() {
    let gate = Gate::new();
    let provider =
        ScriptedProvider::start(vec![Reply::text("On Tuesdays, as ever [1].").pieces(5).held_after_first_by(&gate)])
            .await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let job = app.submit("/chat", json!({ "query": "When do releases leave?" })).await;
    let url = format!("{}/jobs/{job}/events", app.url);
    let mut stream = app.http.get(&url).send().await.unwrap();
    let mut seen = String::new();
    while !seen.contains("event: delta") && !seen.contains("event:delta") {
        let chunk = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.expect("a delta comes");
        seen += core::str::from_utf8(&chunk.unwrap().expect("the stream is open")).unwrap();
    }
    assert!(!seen.contains("completed"), "the first words come before the answer is whole: {seen}");
    gate.open();
    app.wait_for(&job).await;
    let log = app.events(&job).await;
    let last = log.last().unwrap().1["seq"].as_u64().unwrap();
    let resumed = app.http.get(&url).header("last-event-id", "1").send().await.unwrap().text().await.unwrap();
    assert_eq!(crate::support::app::events(&resumed), log[2..]);
    let past = app.http.get(&url).query(&[("after", last)]).send().await.unwrap();
    assert_eq!(past.status(), StatusCode::NO_CONTENT);
    app.finish().await;
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_stopped_and_tried_again() {
    let provider = ScriptedProvider::start(vec![
        Reply::text("one two three four").pieces(4).stall_after(2),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let configure = provider_at(&provider);
    let app = TestApp::start_with(|settings| {
        configure(settings);
        settings.worker.chat_timeout_ms = 1_500;
    })
    .await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave?").await;
    assert_eq!((&view["status"], &view["attempt"]), (&json!("completed"), &json!(2)), "{view}");
    provider.until("the disconnect", |counts| counts.disconnects == 1).await;
    let events = app.events(view["job_id"].as_str().unwrap()).await;
    let retried = events.iter().find(|(name, _)| name == "retrying").unwrap();
    assert_eq!(retried.1["code"], "attempt_timeout", "{events:?}");
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn one_slot_comes_back_after_every_kind_of_failure() {
    let failing = [Reply::status(500), Reply::text("one two three").cut_after(1), Reply::hang_up(), Reply::html()];
    let mut script: Vec<Reply> = failing.iter().cycle().take(10).cloned().collect();
    script.push(Reply::default_forever(Reply::text("On Tuesdays [1].")));
    let provider = ScriptedProvider::start(script).await;
    let configure = provider_at(&provider);
    let app = TestApp::start_with(|settings| {
        configure(settings);
        settings.worker.chat_slots = 1;
    })
    .await;
    app.put("release", "Release notes", NOTES).await;
    let mut jobs = Vec::new();
    for _ in 0..10 {
        // Chance may let one job meet all the failures.
        let body = json!({ "query": "When do releases leave?", "max_attempts": 11 });
        jobs.push(app.submit("/chat", body).await);
    }
    let mut failures = 0;
    for job in &jobs {
        let view = app.wait_for(job).await;
        assert_eq!(view["status"], "completed", "{view}");
        failures += view["deliveries"].as_u64().unwrap() - 1;
    }
    assert_eq!(failures, 10);
    assert_eq!(provider.counts().max_in_flight, 1);
    app.finish().await;
}

#[tokio::test]
async fn an_answer_cut_off_at_the_length_limit_is_kept_and_says_so() {
    let provider =
        ScriptedProvider::start(vec![Reply::text("They leave on Tuesdays [1], and").finish_reason("length")]).await;
    let app = TestApp::start_with(provider_at(&provider)).await;
    app.put("release", "Release notes", NOTES).await;
    let view = app.ask("When do releases leave?").await;
    assert_eq!((&view["status"], &view["result"]["truncated"]), (&json!("completed"), &json!(true)), "{view}");
    provider.finish();
    app.finish().await;
}

#[tokio::test]
async fn after_a_change_of_the_embedding_model_questions_are_answered_by_words_alone() {
    let provider = ScriptedProvider::start(vec![
        Reply::embeddings(8),
        Reply::embeddings(8),
        Reply::text("On Tuesdays [1]."),
        Reply::embeddings(16),
        Reply::text("On Tuesdays [1]."),
    ])
    .await;
    let url = provider.base_url();
    let with = |model: &str| {
        let (url, model) = (url.clone(), model.to_owned());
        move |settings: &mut Settings| {
            settings.model.base_url = Some(url);
            settings.embedding.model = Some(model);
        }
    };
    let app = TestApp::start_with(with("first")).await;
    app.put("release", "Release notes", NOTES).await;
    let mut data = app.finish().await;
    // Another model of the same dimension, then the same model in another.
    for model in ["second", "first"] {
        let app = TestApp::start_in(data, with(model)).await;
        let view = app.ask("When do releases leave?").await;
        assert_eq!(view["result"]["retrieval"], json!({ "mode": "lexical", "degraded": true }), "{view}");
        data = app.finish().await;
    }
    provider.finish();
}

#[tokio::test]
async fn a_document_of_an_earlier_analysis_is_taken_in_again_when_it_is_sent_again() {
    let qdrant = qdrant::Server::start();
    let on_qdrant = |settings: &mut Settings| settings.index.qdrant_url = Some(qdrant.url());
    let app = TestApp::start_with(on_qdrant).await;
    for unchanged in [false, true] {
        let view = app.put("release", "Release notes", NOTES).await;
        assert_eq!(view["result"]["unchanged"], unchanged, "{view}");
    }
    let data = app.finish().await;
    // As it was recorded before the analysis was.
    let jobs = rusqlite::Connection::open(data.path().join("jobs.db")).unwrap();
    assert_eq!(jobs.execute("UPDATE documents SET embedding_model = NULL", []).unwrap(), 1);
    jobs.close().unwrap();
    let app = TestApp::start_in(data, on_qdrant).await;
    for unchanged in [false, true] {
        let view = app.put("release", "Release notes", NOTES).await;
        assert_eq!(view["result"]["unchanged"], unchanged, "{view}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_job_that_runs_whenever_the_process_is_killed_is_poison_after_three_times() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let provider = ScriptedProvider::start(vec![Reply::default_forever(Reply::stall())]).await;
    let url = provider.base_url();
    let environment = [("OPENAI_BASE_URL", url.as_str()), ("RUST_LOG", "error")];
    let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
    let state = async |up: &Up, job: &str, wait: &str| -> Value {
        let url = format!("{}/job-status?job_id={job}&wait_ms={wait}", up.url);
        http.get(url).send().await.unwrap().json().await.unwrap()
    };
    let post = async |up: &Up, path: &str, body: Value| -> String {
        let answer: Value =
            http.post(format!("{}{path}", up.url)).json(&body).send().await.unwrap().json().await.unwrap();
        answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let up = Up::start(&data, &environment).await;
    let document = post(&up, "/documents", json!({ "title": "Release notes", "text": NOTES })).await;
    assert_eq!(state(&up, &document, "30000").await["status"], "completed");
    let job = post(&up, "/chat", json!({ "query": "When do releases leave?" })).await;
    provider.until("the call", |counts| counts.calls == 1).await;
    up.kill().await;
    for lost in 1..3 {
        let up = Up::start(&data, &environment).await;
        provider.until("the call", |counts| counts.calls == lost + 1).await;
        let view = state(&up, &job, "0").await;
        assert_eq!((&view["lost_leases"], &view["attempt"]), (&json!(lost), &json!(1)), "{view}");
        up.kill().await;
    }
    let up = Up::start(&data, &environment).await;
    let view = state(&up, &job, "30000").await;
    assert_eq!((&view["status"], &view["lost_leases"]), (&json!("dead"), &json!(3)), "{view}");
    assert_eq!(view["error"]["code"], "poison", "{view}");
    assert_eq!(provider.counts().calls, 3);
    assert!(up.stop().await.success());
}

#[tokio::test]
async fn a_head_that_stops_coming_holds_no_connection() {
    let app = TestApp::start_with(|settings| settings.api.head_timeout_ms = 100).await;
    let address = app.url.strip_prefix("http://").unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /health/live HTTP/1.1\r\nhost: ragq\r\nx-half").await.unwrap();
    let mut answer = Vec::new();
    // The end of the connection, whatever is said before it.
    half.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    // What takes long once it has been asked is another matter.
    app.send(Method::POST, "/admin/queue/pause", json!({})).await;
    let (_, job) = app.send(Method::POST, "/chat", json!({ "query": "q" })).await;
    let path = format!("/job-status?job_id={}&wait_ms=300", job["job_id"].as_str().unwrap());
    assert_eq!(app.get(&path).await["status"], "queued");
    app.drain().await;
}
