//! `ragq ask`: one job however often it is sent, one answer however often the stream breaks.

use std::{io::Read as _, process::Stdio};

use serde_json::{Value, json};

use super::{
    ragq,
    scripted::{Api, JOB, Reply, accepted, answer, job},
};
use crate::support::terminal::terminal;

const EVENTS: &str = "GET /jobs/01J9ZC6M1V7H0Q8T3X5K2B4N6P/events";
const STATUS: &str = "GET /job-status";
const PRINTED: &str = "Leases are lost [1].\n\n[1] Leases — docs/jobs.md (chunk 2)\n    “A lease is lost.”\n";

fn result() -> Value {
    json!({ "result": answer("Leases are lost [1].") })
}

fn whole_stream() -> Reply {
    Reply::events(&[
        (0, "created", json!({})),
        (1, "started", json!({"worker": "w"})),
        (2, "passages", json!({"citations": []})),
        (3, "delta", json!({"text": "Leases are "})),
        (4, "delta", json!({"text": "lost [1]."})),
        (5, "completed", result()),
    ])
}

#[tokio::test]
async fn a_pipe_gets_the_answer_and_its_citations_and_the_api_the_whole_question() {
    let api =
        Api::playing(vec![("POST /chat", accepted()), (EVENTS, whole_stream()), (STATUS, job("completed", &result()))])
            .await;
    let args = ["ask", "Why?", "--collection", "c", "--conversation", "v", "--top-k", "3"];
    let ended = ragq(&api.url, args).env("RAGQ_API_KEY", "a-callers-own-key").run().await.expect(0);
    assert_eq!(ended.stdout, PRINTED);
    let sent = &api.seen("POST /chat")[0];
    assert_eq!(sent.json(), json!({"query": "Why?", "collection": "c", "conversation_id": "v", "top_k": 3}));
    assert_eq!(sent.header("authorization"), Some("Bearer a-callers-own-key"));
    assert_eq!(sent.header("idempotency-key").map(str::len), Some(26));
}

#[tokio::test]
async fn json_is_the_job_as_the_api_says_it() {
    let api = Api::playing(vec![("POST /chat", accepted()), (STATUS, job("completed", &result()))]).await;
    let ended = ragq(&api.url, ["ask", "Why?", "--json"]).run().await.expect(0);
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((printed["status"].as_str(), &printed["result"]), (Some("completed"), &result()["result"]));
    assert!(api.seen(EVENTS).is_empty());
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_a_broken_submission_sent_again_under_the_same_key() {
    let full = Reply::problem(503, "queue_full", "the queue is full").header("retry-after", "1");
    let api = Api::playing(vec![
        ("POST /chat", full),
        ("POST /chat", Reply::json(202, &json!({})).cut()),
        ("POST /chat", accepted()),
        (STATUS, job("completed", &result())),
    ])
    .await;
    let ended = ragq(&api.url, ["ask", "Why?", "--no-stream"]).run().await.expect(0);
    assert_eq!(ended.stdout, PRINTED);
    let sent = api.seen("POST /chat");
    assert!(sent.windows(2).all(|two| two[0].header("idempotency-key") == two[1].header("idempotency-key")));
    assert!(sent[1].at - sent[0].at >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn a_dropped_stream_is_resumed_after_the_last_event_that_was_seen() {
    let api = Api::playing(vec![
        ("POST /chat", accepted()),
        (EVENTS, Reply::events(&[(0, "created", json!({})), (1, "started", json!({}))]).cut()),
        // A draining API hands its readers over.
        (EVENTS, Reply::events(&[(2, "delta", json!({"text": "Leases"}))]).then("retry: 0\n\n")),
        (EVENTS, Reply::problem(503, "draining", "the process is shutting down")),
        (EVENTS, Reply::events(&[(2, "delta", json!({"text": "Leases"})), (3, "completed", result())])),
        (STATUS, job("completed", &result())),
    ])
    .await;
    let ended = ragq(&api.url, ["ask", "Why?"]).run().await.expect(0);
    assert_eq!(ended.stdout, PRINTED);
    let asked_after: Vec<_> =
        api.seen(EVENTS).iter().map(|seen| seen.header("last-event-id").map(str::to_owned)).collect();
    assert_eq!(asked_after, [None, Some("1".into()), Some("2".into()), Some("2".into())]);
}

#[tokio::test]
async fn without_streams_the_status_is_asked_for_until_the_job_is_final() {
    let no_streams = [
        Reply::problem(404, "not_found", "there is no such route"),
        Reply::json(204, &Value::Null),
        Reply::json(200, &json!("a page of a proxy")),
    ];
    for reply in no_streams {
        let api = Api::playing(vec![
            ("POST /chat", accepted()),
            (EVENTS, reply),
            (STATUS, job("queued", &json!({"position": 3}))),
            (STATUS, job("completed", &result())),
        ])
        .await;
        let ended = ragq(&api.url, ["ask", "Why?"]).run().await.expect(0);
        assert_eq!(ended.stdout, PRINTED);
        assert!(api.seen(STATUS).iter().all(|seen| seen.query.contains("wait_ms=")));
    }
}

#[tokio::test]
async fn a_job_that_is_dead_or_called_off_ends_with_1_and_says_why() {
    let error = json!({"code": "context_too_long", "message": "the prompt is too long", "class": "permanent", "retry_at": null});
    let dead = json!({ "error": error });
    let api = Api::playing(vec![
        ("POST /chat", accepted()),
        (EVENTS, Reply::events(&[(0, "created", json!({})), (1, "dead", dead.clone())])),
        (STATUS, job("dead", &dead)),
    ])
    .await;
    let ended = ragq(&api.url, ["ask", "Why?"]).run().await.expect(1);
    ended.says(&[JOB, "the prompt is too long", "context_too_long"]);
    assert_eq!(ended.stdout, "");
    let api = Api::playing(vec![("POST /chat", accepted()), (STATUS, job("cancelled", &json!({})))]).await;
    ragq(&api.url, ["ask", "Why?", "--no-stream"]).run().await.expect(1).says(&[JOB, "cancelled"]);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_fields_and_request_id_and_a_missing_key_is_a_setting() {
    let refusal = json!({
        "title": "The request is not valid", "status": 422, "detail": "1 field is wrong", "code": "validation_failed",
        "request_id": "request-7", "errors": [{"field": "query", "message": "must say something"}],
    });
    let api = Api::playing(vec![("POST /chat", Reply::json(422, &refusal))]).await;
    let ended = ragq(&api.url, ["ask", " "]).run().await.expect(1);
    ended.says(&["The request is not valid", "query: must say something", "request-7"]);
    let api = Api::playing(vec![("POST /chat", Reply::problem(401, "unauthorized", "no key"))]).await;
    ragq(&api.url, ["ask", "Why?"]).run().await.expect(64).says(&["RAGQ_API_KEY"]);
}

#[tokio::test]
async fn an_answer_can_not_steer_the_terminal() {
    let steering = json!({ "result": answer("red \u{1b}[31mtext\u{7}") });
    let api = Api::playing(vec![("POST /chat", accepted()), (STATUS, job("completed", &steering))]).await;
    let ended = ragq(&api.url, ["ask", "Why?", "--no-stream"]).run().await.expect(0);
    assert!(ended.stdout.starts_with("red [31mtext\n"), "{:?}", ended.stdout);
}

#[tokio::test]
async fn on_a_terminal_the_answer_comes_in_pieces_and_starts_anew_with_a_new_attempt() {
    let retrying = json!({"code": "stream_cut", "message": "the stream broke", "retry_at": "2026-01-01T00:00:00.000Z"});
    let api = Api::playing(vec![
        ("POST /chat", accepted()),
        (
            EVENTS,
            Reply::events(&[
                (0, "created", json!({})),
                (1, "started", json!({})),
                (2, "delta", json!({"text": "Void"})),
                (3, "retrying", retrying),
                (4, "started", json!({"attempt": 2})),
                (5, "delta", json!({"text": "Leases are ", "attempt": 2})),
                (6, "delta", json!({"text": "lost [1].", "attempt": 2})),
                (7, "completed", result()),
            ]),
        ),
        (STATUS, job("completed", &result())),
    ])
    .await;
    let (mut screen, stdout) = terminal();
    let mut command = ragq(&api.url, ["ask", "Why?"]).env("NO_COLOR", "1");
    command.command.stdout(stdout.try_clone().unwrap()).stderr(stdout);
    let status = command.command.spawn().unwrap().wait().await.unwrap();
    // The last of the terminal's second half goes with the command: reading ends.
    drop(command);
    let mut shown = Vec::new();
    screen.read_to_end(&mut shown).ok();
    let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
    assert_eq!(status.code(), Some(0), "{shown}");
    let notes = "retrying in 0 s because the stream broke\nattempt 2: the answer starts anew\n";
    assert_eq!(shown, format!("Void\n{notes}{PRINTED}"));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_stops_the_waiting_and_says_that_the_job_goes_on() {
    let api = Api::answering(|seen| match seen.route.as_str() {
        "POST /chat" => Some(accepted()),
        // Never final: only the signal ends the command.
        _ => Some(job("running", &json!({}))),
    })
    .await;
    let mut command = ragq(&api.url, ["ask", "Why?", "--no-stream"]);
    let child = command.command.stdout(Stdio::piped()).spawn().unwrap();
    crate::support::eventually(async || (!api.seen(STATUS).is_empty()).then_some(())).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = super::Ended::of(child.wait_with_output().await.unwrap()).expect(130);
    ended.says(&[&format!("ragq jobs show {JOB}")]);
}
