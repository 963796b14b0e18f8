//! The operator's commands: jobs, dead letters, the queue, the probe.

use serde_json::{Value, json};

use super::{
    Ended, ragq,
    scripted::{Api, JOB, Reply, Seen, answer, job},
};
use crate::support::{eventually, process::signal};

#[tokio::test]
async fn a_job_is_shown_with_its_history_and_its_answer() {
    let api = Api::playing(vec![("GET /job-status", job("completed", &json!({"result": answer("Yes [1].")})))]).await;
    let ended = ragq(&api.url, ["jobs", "show", JOB]).run().await.expect(0);
    for line in ["completed", "attempt   1 of 5", "1 deliveries, 0 lost leases, 0 deferrals", "Yes [1].", "[1] Leases"]
    {
        assert!(ended.stdout.contains(line), "{line} in\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn an_unknown_job_is_a_failure_and_an_id_can_not_become_another_route() {
    let api = Api::answering(|_| Some(Reply::problem(404, "job_not_found", "no job of this caller has that id"))).await;
    ragq(&api.url, ["jobs", "show", JOB]).run().await.expect(1).says(&["no job of this caller", "request-7"]);
    ragq(&api.url, ["jobs", "cancel", "../admin/dlq"]).run().await.expect(1);
    assert_eq!(api.seen("DELETE /jobs/%2E%2E%2Fadmin%2Fdlq").len(), 1);
}

#[tokio::test]
async fn of_several_jobs_those_called_off_and_those_not_are_told_apart() {
    let other = "01J9ZC6M1V7H0Q8T3X5K2B4N60";
    let api = Api::playing(vec![
        ("DELETE /jobs/01J9ZC6M1V7H0Q8T3X5K2B4N6P", job("cancelled", &json!({}))),
        ("DELETE /jobs/01J9ZC6M1V7H0Q8T3X5K2B4N60", job("completed", &json!({"job_id": other}))),
    ])
    .await;
    let ended = ragq(&api.url, ["jobs", "cancel", JOB, other]).run().await.expect(2);
    assert_eq!(ended.stdout, format!("{JOB} cancelled\n{other} completed\n"));
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_causes() {
    let letters = json!({
        "items": [{
            "job_id": JOB, "tenant": "default", "kind": "chat", "reason": "permanent",
            "error": {"code": "context_too_long", "message": "too\nlong", "class": "permanent", "retry_at": null},
            "attempt": 1, "deliveries": 1, "lost_leases": 0,
            "created_at": "2026-01-01T00:00:00.000Z", "dead_at": "2026-01-01T00:00:01.000Z",
        }],
        "next_cursor": "next",
        "groups": [{"reason": "permanent", "code": "context_too_long", "count": 41}],
    });
    let api = Api::playing(vec![("GET /admin/dlq", Reply::json(200, &letters))]).await;
    let args = ["dlq", "list", "--reason", "permanent", "--kind", "chat", "--limit", "1"];
    let ended = ragq(&api.url, args).operator().run().await.expect(0);
    for text in ["41 permanent context_too_long", JOB, "context_too_long: too long", "--cursor next"] {
        assert!(ended.stdout.contains(text), "{text} in\n{}", ended.stdout);
    }
    let seen = &api.seen("GET /admin/dlq")[0];
    assert_eq!(seen.query, "reason=permanent&kind=chat&limit=1");
    assert_eq!(seen.header("authorization"), Some("Bearer the-operators-token"));
}

#[tokio::test]
async fn a_replay_is_followed_to_its_end_and_a_dry_run_only_counts() {
    let progress = |replayed: u64| json!({"matched": 2, "replayed": replayed, "skipped": 0, "failed_again": 1});
    let ended = json!({"kind": "replay", "progress": progress(2), "result": {"replayed": 2, "stopped": null}});
    let api = Api::playing(vec![
        ("POST /admin/dlq/replay", Reply::json(202, &json!({"job_id": JOB, "matched": 2}))),
        ("GET /job-status", job("running", &json!({"kind": "replay", "progress": progress(1)}))),
        ("GET /job-status", job("completed", &ended)),
    ])
    .await;
    let args = ["dlq", "replay", "--code", "provider_timeout", "--kind", "chat", "--limit", "9", "--rate", "5"];
    let ended = ragq(&api.url, args).operator().run().await.expect(0);
    assert_eq!(ended.stdout, "2 of 2 replayed, 1 failed again\n");
    let body = api.seen("POST /admin/dlq/replay")[0].json();
    assert_eq!(body, json!({"code": "provider_timeout", "kind": "chat", "limit": 9, "rate_per_second": 5.0}));
    assert_eq!(api.seen("GET /job-status")[0].header("authorization"), Some("Bearer the-operators-token"));

    let api =
        Api::playing(vec![("POST /admin/dlq/replay", Reply::json(200, &json!({"matched": 7, "replayed": 0})))]).await;
    let ended = ragq(&api.url, ["dlq", "replay", "--all", "--dry-run"]).operator().run().await.expect(0);
    assert_eq!(ended.stdout, "7 match\n");
    assert_eq!(api.seen("POST /admin/dlq/replay")[0].json(), json!({"dry_run": true}));
}

#[tokio::test]
async fn a_replay_that_stops_itself_is_partly_done_and_chosen_letters_are_one_job() {
    let other = "01J9ZC6M1V7H0Q8T3X5K2B4N60";
    let progress = json!({"matched": 9, "replayed": 4, "skipped": 0, "failed_again": 3});
    let ended = json!({"kind": "replay", "progress": progress, "result": {"stopped": "same_cause_returned"}});
    let api = Api::playing(vec![
        ("POST /admin/dlq/replay", Reply::json(202, &json!({"job_id": JOB, "matched": 2}))),
        ("GET /job-status", job("completed", &ended)),
    ])
    .await;
    let ended = ragq(&api.url, ["dlq", "replay", JOB, other]).operator().run().await.expect(2);
    assert_eq!(ended.stdout, "4 of 9 replayed, 3 failed again; stopped: the same cause returned\n");
    assert_eq!(api.seen("POST /admin/dlq/replay")[0].json(), json!({"ids": [JOB, other]}));
    ragq(&api.url, ["dlq", "replay"]).operator().run().await.expect(64).says(&["--all"]);
}

#[tokio::test]
async fn ctrl_c_stops_the_following_of_a_replay_and_says_that_it_goes_on() {
    let api = Api::answering(|seen| match seen.route.as_str() {
        "POST /admin/dlq/replay" => Some(Reply::json(202, &json!({"job_id": JOB, "matched": 2}))),
        // Never final: only the signal ends the command.
        "GET /job-status" => Some(job("running", &json!({"kind": "replay"}))),
        _ => None,
    })
    .await;
    let mut command = ragq(&api.url, ["dlq", "replay", "--all"]).operator();
    let child = command.command.spawn().unwrap();
    eventually(async || (!api.seen("GET /job-status").is_empty()).then_some(())).await;
    signal(child.id().unwrap(), "INT");
    let ended = Ended::of(child.wait_with_output().await.unwrap()).expect(130);
    ended.says(&[&format!("`ragq jobs show {JOB}`"), &format!("`ragq jobs cancel {JOB}` ends it")]);
    assert!(api.seen(&format!("DELETE /jobs/{JOB}")).is_empty());
}

#[tokio::test]
async fn a_replay_is_shown_and_called_off_as_the_operators_own_job() {
    let progress = json!({"matched": 9, "replayed": 4, "skipped": 0, "failed_again": 3});
    let api = Api::answering(move |request| {
        let operators = request.header("authorization") == Some("Bearer the-operators-token");
        let replay = json!({"kind": "replay", "progress": progress, "max_attempts": 5});
        Some(if operators { job("cancelled", &replay) } else { Reply::problem(404, "job_not_found", "no such job") })
    })
    .await;
    let shown = ragq(&api.url, ["jobs", "show", JOB]).operator().run().await.expect(0).stdout;
    assert!(shown.contains("progress  4 of 9 replayed, 0 skipped, 3 failed again"), "{shown}");
    let ended = ragq(&api.url, ["jobs", "cancel", JOB]).operator().run().await.expect(0);
    assert_eq!(ended.stdout, format!("{JOB} cancelled\n"));
    ragq(&api.url, ["jobs", "show", JOB]).run().await.expect(1);
}

#[tokio::test]
async fn one_letter_is_replayed_with_an_edited_payload() {
    let route = "POST /admin/dlq/01J9ZC6M1V7H0Q8T3X5K2B4N6P/replay";
    let api = Api::playing(vec![(route, Reply::json(202, &json!({"job_id": JOB})))]).await;
    let command = ragq(&api.url, ["dlq", "replay", JOB, "--payload", "edited.json"]).operator();
    command.file("edited.json", r#"{"query": "shorter"}"#).run().await.expect(0);
    assert_eq!(api.seen(route)[0].json(), json!({"payload": {"query": "shorter"}}));
}

#[tokio::test]
async fn discarding_names_what_was_not_there_and_an_unknown_token_stops_it() {
    let gone = "01J9ZC6M1V7H0Q8T3X5K2B4N60";
    let api = Api::playing(vec![
        ("DELETE /admin/dlq/01J9ZC6M1V7H0Q8T3X5K2B4N6P", Reply::json(204, &Value::Null)),
        ("DELETE /admin/dlq/01J9ZC6M1V7H0Q8T3X5K2B4N60", Reply::problem(404, "dead_letter_not_found", "not there")),
    ])
    .await;
    let ended = ragq(&api.url, ["dlq", "discard", JOB, gone]).operator().run().await.expect(2);
    assert_eq!(ended.stdout, format!("{JOB} discarded\n"));
    ended.says(&[gone, "not there"]);
    let api = Api::answering(|_| Some(Reply::problem(401, "unauthorized", "wrong token"))).await;
    ragq(&api.url, ["dlq", "discard", JOB, gone]).operator().run().await.expect(64).says(&["RAGQ_ADMIN_TOKEN"]);
    assert_eq!(api.seen("DELETE /admin/dlq/01J9ZC6M1V7H0Q8T3X5K2B4N6P").len(), 1);
}

#[tokio::test]
async fn letters_are_discarded_by_filter_in_steps_and_never_without_saying_which() {
    let route = "POST /admin/dlq/discard";
    let instant = "2026-01-01T00:00:00.000Z";
    let answer = |matched: u64| json!({"matched": matched, "discarded": matched, "dead_by": instant});
    let done = |matched: u64| (route, Reply::json(200, &answer(matched)));
    let api = Api::playing(vec![done(20_000), done(7)]).await;
    let command = ragq(&api.url, ["dlq", "discard", "--reason", "permanent", "--code", "context_too_long"]).operator();
    let ended = command.run().await.expect(0);
    assert_eq!(ended.stdout, "20007 match, 20007 discarded\n");
    ended.says(&["20000 discarded so far"]);
    let step = json!({"reason": "permanent", "code": "context_too_long", "limit": 20_000});
    let mut next = step.clone();
    next["dead_by"] = json!(instant);
    assert_eq!(api.seen(route).iter().map(Seen::json).collect::<Vec<_>>(), [step, next], "what dies meanwhile stays");
    let api = Api::playing(vec![done(3)]).await;
    let dry = ["dlq", "discard", "--all", "--limit", "3", "--dry-run", "--json"];
    let dry = ragq(&api.url, dry).operator().run().await.expect(0).stdout;
    assert!(dry.contains("\"matched\":3"), "{dry}");
    assert_eq!(api.seen(route)[0].json(), json!({"limit": 3, "dry_run": true}));
    ragq(&api.url, ["dlq", "discard"]).operator().run().await.expect(64).says(&["say which"]);
    ragq(&api.url, ["dlq", "discard", JOB, "--all"]).operator().run().await.expect(64);
}

#[tokio::test]
async fn the_queue_is_shown_in_figures_and_paused_by_kind() {
    let stats = json!({
        "counts": {"queued": 3, "scheduled": 0, "running": 1, "completed": 9, "dead": 2, "cancelled": 0},
        "backlog": 3, "running": 1, "oldest_queued_age_ms": 1500, "paused": ["ingest"],
        "workers": [{"id": "w:1", "version": "0", "slots": {"chat": 4}, "running": 1, "last_heartbeat_at": "2026-01-01T00:00:00.000Z"}],
        "breakers": [],
    });
    let api = Api::playing(vec![
        ("GET /admin/queue", Reply::json(200, &stats)),
        ("POST /admin/queue/pause", Reply::json(200, &json!({"paused": ["ingest"]}))),
        ("POST /admin/queue/resume", Reply::json(200, &json!({"paused": []}))),
    ])
    .await;
    let shown = ragq(&api.url, ["queue", "stats"]).operator().run().await.expect(0).stdout;
    for line in [
        "queued     3",
        "dead       2",
        "oldest     1.5 s",
        "paused     ingest",
        "worker     w:1, 1 running, slots: 4 chat, ragq 0",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let paused = ragq(&api.url, ["queue", "pause", "--kind", "ingest"]).operator().run().await.expect(0);
    assert_eq!(paused.stdout, "paused     ingest\n");
    let resumed = ragq(&api.url, ["queue", "resume"]).operator().run().await.expect(0);
    assert_eq!(resumed.stdout, "paused     nothing\n");
    assert_eq!(api.seen("POST /admin/queue/pause")[0].json(), json!({"kinds": ["ingest"]}));
    assert_eq!(api.seen("POST /admin/queue/resume")[0].json(), json!({}));
}

#[tokio::test]
async fn jobs_are_cancelled_by_filter_only_when_it_is_said_which() {
    let done = Reply::json(200, &json!({"matched": 4, "cancelled": 4}));
    let api = Api::playing(vec![("POST /admin/jobs/cancel", done)]).await;
    ragq(&api.url, ["queue", "cancel"]).operator().run().await.expect(64).says(&["--all"]);
    let args = ["queue", "cancel", "--kind", "ingest", "--status", "queued", "--limit", "9"];
    let ended = ragq(&api.url, args).operator().run().await.expect(0);
    assert_eq!(ended.stdout, "4 match, 4 cancelled\n");
    let body = json!({"kind": "ingest", "status": ["queued"], "limit": 9});
    assert_eq!(api.seen("POST /admin/jobs/cancel")[0].json(), body);
}

#[tokio::test]
async fn many_jobs_are_cancelled_in_steps_and_what_was_done_is_said_even_if_one_fails() {
    let route = "POST /admin/jobs/cancel";
    let step = |count: u64| (route, Reply::json(200, &json!({"matched": count, "cancelled": count})));
    let limits =
        |api: &Api| -> Vec<Value> { api.seen(route).iter().map(|seen| seen.json()["limit"].clone()).collect() };
    let api = Api::playing(vec![step(20_000), step(20_000), step(7)]).await;
    let ended = ragq(&api.url, ["queue", "cancel", "--all"]).operator().run().await.expect(0);
    assert_eq!(ended.stdout, "40007 match, 40007 cancelled\n");
    ended.says(&["20000 cancelled so far", "40000 cancelled so far"]);
    assert_eq!(limits(&api), [20_000, 20_000, 20_000]);
    let api = Api::playing(vec![step(20_000), step(5_000)]).await;
    let ended = ragq(&api.url, ["queue", "cancel", "--all", "--limit", "25000", "--json"]).operator().run().await;
    assert_eq!(
        serde_json::from_str::<Value>(&ended.expect(0).stdout).unwrap(),
        json!({"matched": 25_000, "cancelled": 25_000})
    );
    assert_eq!(limits(&api), [20_000, 5_000]);
    let mut failure = json!({"title": "The job store is unavailable", "status": 503, "code": "store_unavailable"});
    failure["done"] = 300.into();
    let api = Api::playing(vec![step(20_000), (route, Reply::json(503, &failure))]).await;
    let ended = ragq(&api.url, ["queue", "cancel", "--all"]).operator().run().await.expect(69);
    ended.says(&["20300 cancelled before it failed", "store_unavailable"]);
}

#[tokio::test]
async fn the_last_minutes_and_the_audit_log_are_shown_one_line_each() {
    let item = json!({"at": "2026-01-01T00:00:00.000Z", "queued": 7, "running": 1, "submitted": 20, "completed": 12,
        "wait_ms": {"p50": 3, "p95": 90}, "run_ms": null});
    let entry = json!({"at": "2026-01-01T00:00:00.000Z", "action": "replay_letters", "actor": "admin",
        "remote_address": "10.0.0.7", "request_id": "r-1", "subject": JOB, "count": 333, "detail": {"code": "x"}});
    let failed = json!({"at": "2026-01-01T00:00:00.000Z", "action": "cancel_jobs", "stage": "failed", "actor": "admin",
        "request_id": "r-2", "subject": null, "count": 200, "detail": null});
    let api = Api::playing(vec![
        ("GET /admin/history", Reply::json(200, &json!({"interval_ms": 15000, "items": [item]}))),
        ("GET /admin/audit", Reply::json(200, &json!({"items": [entry, failed], "next_cursor": "next"}))),
    ])
    .await;
    let shown = ragq(&api.url, ["queue", "history", "--minutes", "2"]).operator().run().await.expect(0).stdout;
    assert!(shown.contains("20") && shown.contains("90 ms") && shown.lines().count() == 2, "{shown}");
    let audit = ragq(&api.url, ["queue", "audit"]).operator().run().await.expect(0).stdout;
    for words in [
        "replay_letters 333",
        JOB,
        "by admin from 10.0.0.7 (request r-1)",
        "cancel_jobs failed after 200 by",
        "--cursor next",
    ] {
        assert!(audit.contains(words), "{words} in\n{audit}");
    }
    assert_eq!(api.seen("GET /admin/history")[0].query, "minutes=2");
}

#[tokio::test]
async fn the_probe_tells_ready_degraded_and_not_ready_apart() {
    let part = json!({"component": "provider", "code": "quota_exhausted", "message": "the account has no money left"});
    let api = Api::playing(vec![
        ("GET /health/ready", Reply::json(200, &json!({"status": "ready", "degraded": []}))),
        ("GET /health/ready", Reply::json(200, &json!({"status": "degraded", "degraded": [part]}))),
        ("GET /health/ready", Reply::problem(503, "draining", "the process is shutting down")),
    ])
    .await;
    let probe = || ragq(&api.url, ["health"]);
    assert_eq!(probe().run().await.expect(0).stdout, "ready\n");
    let degraded = "degraded: provider: the account has no money left (quota_exhausted)\n";
    assert_eq!(probe().run().await.expect(0).stdout, degraded);
    let not_ready = probe().run().await.expect(1).stdout;
    assert!(not_ready.contains("the process is shutting down"), "{not_ready}");
}
