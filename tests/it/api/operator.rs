//! The admin routes.

use ragq::domain::{
    failure::Code,
    job::{Kind, Status},
};
use serde_json::{Value, json};

use super::harness::{App, admin, expect, fields, problem, text};

async fn get(app: &App, path: &str) -> Value {
    expect(admin(app.get(path)).send().await.unwrap(), 200).await
}

async fn post(app: &App, path: &str, body: Value) -> reqwest::Response {
    admin(app.post(path)).json(&body).send().await.unwrap()
}

#[tokio::test]
async fn the_queue_is_told_in_figures() {
    let app = App::start().await;
    app.ask("one").await;
    app.ask("two").await;
    app.fetch(Kind::Chat).await;
    let queue = get(&app, "/admin/queue").await;
    assert_eq!(queue["counts"].as_object().unwrap().len(), Status::ALL.len());
    assert_eq!((&queue["counts"]["queued"], &queue["counts"]["running"]), (&json!(1), &json!(1)));
    assert_eq!((&queue["backlog"], &queue["running"]), (&json!(1), &json!(1)));
    assert!(queue["oldest_queued_age_ms"].is_u64());
    assert_eq!(queue["workers"][0]["id"], app.worker.as_str());
    assert_eq!((&queue["paused"], &queue["breakers"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn kinds_are_paused_and_resumed_one_or_all() {
    let app = App::start().await;
    let answer = admin(app.post("/admin/queue/pause")).send().await.unwrap();
    assert_eq!(expect(answer, 200).await, json!({ "paused": ["chat", "ingest"] }));
    assert_eq!(get(&app, "/admin/queue").await["paused"], json!(["chat", "ingest"]));
    let answer = post(&app, "/admin/queue/resume", json!({ "kinds": ["ingest"] })).await;
    assert_eq!(expect(answer, 200).await, json!({ "paused": ["chat"] }));
    app.ask("accepted while paused").await;
    let answer = post(&app, "/admin/queue/resume", json!({})).await;
    assert_eq!(expect(answer, 200).await, json!({ "paused": [] }));
    for wrong in [json!({ "kinds": [] }), json!({ "kinds": ["replay"] }), json!({ "kinds": "chat" })] {
        let refused = problem(post(&app, "/admin/queue/pause", wrong).await, 422, "validation_failed").await;
        assert_eq!(fields(&refused), ["kinds"]);
    }
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_with_the_causes_of_all_of_them() {
    let app = App::start().await;
    let mut jobs = Vec::new();
    for code in [Code::ContentRefused, Code::ContextTooLong, Code::ContentRefused] {
        jobs.push(app.dead_letter("q", code).await);
    }
    let first = get(&app, "/admin/dlq?limit=2").await;
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| text(&item, "job_id")).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), [jobs[2].clone(), jobs[1].clone()]);
    let all = json!([
        { "reason": "permanent", "code": "content_refused", "count": 2 },
        { "reason": "permanent", "code": "context_too_long", "count": 1 },
    ]);
    assert_eq!(first["groups"], all);
    let second = get(&app, &format!("/admin/dlq?limit=2&cursor={}", text(&first, "next_cursor"))).await;
    assert_eq!(ids(&second), [jobs[0].clone()]);
    assert_eq!(second["next_cursor"], json!(null));
    assert_eq!(ids(&get(&app, "/admin/dlq?code=context_too_long&kind=chat&reason=permanent").await), [jobs[1].clone()]);
    assert_eq!(get(&app, "/admin/dlq?kind=ingest").await["groups"], json!([]));
    let wrong = admin(app.get("/admin/dlq?reason=x&code=y&kind=z&limit=w")).send().await.unwrap();
    assert_eq!(fields(&problem(wrong, 422, "validation_failed").await), ["code", "reason", "kind", "limit"]);
}

#[tokio::test]
async fn a_dead_letter_is_shown_whole_and_discarded_for_good() {
    let app = App::start().await;
    let job = app.dead_letter("why?", Code::ContentRefused).await;
    let letter = get(&app, &format!("/admin/dlq/{job}")).await;
    assert_eq!(letter["payload"]["query"], "why?");
    assert_eq!(letter["error"]["code"], "content_refused");
    assert_eq!(letter["attempts"][0]["outcome"], "died");
    let path = format!("/admin/dlq/{job}");
    assert_eq!(admin(app.delete(&path)).send().await.unwrap().status(), 204);
    problem(admin(app.delete(&path)).send().await.unwrap(), 404, "dead_letter_not_found").await;
    problem(admin(app.get(&path)).send().await.unwrap(), 404, "dead_letter_not_found").await;
    problem(admin(app.get("/admin/dlq/x")).send().await.unwrap(), 400, "malformed_job_id").await;
}

#[tokio::test]
async fn a_dead_letter_is_replayed_as_it_was_or_edited() {
    let app = App::start().await;
    let job = app.dead_letter("too long", Code::ContextTooLong).await;
    let path = format!("/admin/dlq/{job}/replay");
    let accepted = expect(admin(app.post(&path)).send().await.unwrap(), 202).await;
    assert_eq!((&accepted["job_id"], &accepted["status"]), (&json!(job), &json!("queued")));
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!((delivery.payload["query"].as_str(), delivery.attempt), (Some("too long"), 1));
    problem(admin(app.post(&path)).send().await.unwrap(), 404, "dead_letter_not_found").await;
    app.bury(&delivery, Code::ContextTooLong).await;
    let mut payload = get(&app, &format!("/admin/dlq/{job}")).await["payload"].clone();
    payload["query"] = "short".into();
    expect(post(&app, &path, json!({ "payload": payload })).await, 202).await;
    let delivery = app.fetch(Kind::Chat).await;
    assert_eq!(delivery.payload, json!({ "kind": "chat", "query": "short" }));
}

#[tokio::test]
async fn an_edited_payload_is_checked_as_one_of_its_kind() {
    let app = App::start().await;
    let job = app.dead_letter("q", Code::ContextTooLong).await;
    let path = format!("/admin/dlq/{job}/replay");
    let wrong = json!({ "payload": { "kind": "ingest", "query": " ", "top_k": 99 } });
    let refused = problem(post(&app, &path, wrong).await, 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["kind", "query", "top_k"]);
    for (wrong, field) in [(json!({ "payload": 1 }), "payload"), (json!({ "edited": {} }), "edited")] {
        assert_eq!(fields(&problem(post(&app, &path, wrong).await, 422, "validation_failed").await), [field]);
    }
    assert_eq!(app.status(&job).await["status"], "dead");
    let document = json!({ "title": "t", "text": "x" });
    expect(app.post("/documents").json(&document).send().await.unwrap(), 202).await;
    let delivery = app.fetch(Kind::Ingest).await;
    app.bury(&delivery, Code::DocumentDamaged).await;
    let path = format!("/admin/dlq/{}/replay", delivery.lease.job);
    let refused = problem(post(&app, &path, json!({ "payload": {} })).await, 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["payload"]);
    expect(post(&app, &path, json!({})).await, 202).await;
}

#[tokio::test]
async fn many_dead_letters_are_counted_and_replayed_by_a_job_of_the_operators() {
    let app = App::start().await;
    for code in [Code::ContentRefused, Code::ContextTooLong, Code::ContentRefused] {
        app.dead_letter("q", code).await;
    }
    let counted = post(&app, "/admin/dlq/replay", json!({ "code": "content_refused", "dry_run": true })).await;
    assert_eq!(expect(counted, 200).await, json!({ "matched": 2, "replayed": 0 }));
    let request = json!({ "code": "content_refused", "reason": "permanent", "kind": "chat", "limit": 1 });
    let accepted = expect(post(&app, "/admin/dlq/replay", request).await, 202).await;
    assert_eq!(accepted["matched"], 1);
    let job = text(&accepted, "job_id");
    let path = format!("/job-status?job_id={job}");
    let view = get(&app, &path).await;
    assert_eq!((&view["kind"], &view["status"]), (&json!("replay"), &json!("queued")));
    problem(app.get(&path).send().await.unwrap(), 404, "job_not_found").await;
    problem(app.get(&format!("/jobs/{job}/events")).send().await.unwrap(), 404, "job_not_found").await;
    problem(app.delete(&format!("/jobs/{job}")).send().await.unwrap(), 404, "job_not_found").await;
    let cancelled = admin(app.delete(&format!("/jobs/{job}"))).send().await.unwrap();
    assert_eq!(expect(cancelled, 200).await["status"], "cancelled");
    let stream = admin(app.get(&format!("/jobs/{job}/events"))).send().await.unwrap().text().await.unwrap();
    assert!(stream.contains("event: cancelled"), "{stream}");
}

#[tokio::test]
async fn the_admin_token_opens_no_job_of_a_tenant_with_a_key() {
    let app = App::with(|options| options.api.keys = "team:team-0123456789abcdef".into()).await;
    let asked = app.post("/chat").bearer_auth("team-0123456789abcdef").json(&json!({ "query": "q" }));
    let job = text(&expect(asked.send().await.unwrap(), 202).await, "job_id");
    let path = format!("/job-status?job_id={job}");
    problem(admin(app.get(&path)).send().await.unwrap(), 404, "job_not_found").await;
    problem(admin(app.delete(&format!("/jobs/{job}"))).send().await.unwrap(), 404, "job_not_found").await;
    problem(app.get(&path).send().await.unwrap(), 401, "unauthorized").await;
}

#[tokio::test]
async fn a_bulk_replay_names_every_field_that_is_wrong() {
    let app = App::start().await;
    let wrong = json!({ "reason": "x", "code": "y", "kind": "replay", "ids": [], "limit": 0, "rate_per_second": 0,
        "dry_run": "yes", "all": true });
    let refused = problem(post(&app, "/admin/dlq/replay", wrong).await, 422, "validation_failed").await;
    let expected = ["code", "reason", "kind", "ids", "limit", "dry_run", "rate_per_second", "all"];
    assert_eq!(fields(&refused), expected);
    problem(admin(app.post("/admin/dlq/replay")).send().await.unwrap(), 415, "unsupported_media_type").await;
}

#[tokio::test]
async fn every_action_of_an_operator_is_in_the_audit_log() {
    let app = App::start().await;
    let job = app.dead_letter("a secret question", Code::ContentRefused).await;
    let act = admin(app.post("/admin/queue/pause")).header("x-request-id", "my-request").json(&json!({
        "kinds": ["chat"]
    }));
    expect(act.send().await.unwrap(), 200).await;
    expect(post(&app, "/admin/queue/resume", json!({})).await, 200).await;
    let edited = json!({ "payload": { "query": "another secret" } });
    expect(post(&app, &format!("/admin/dlq/{job}/replay"), edited).await, 202).await;
    let delivery = app.fetch(Kind::Chat).await;
    app.bury(&delivery, Code::ContentRefused).await;
    let accepted = expect(post(&app, "/admin/dlq/replay", json!({ "code": "content_refused" })).await, 202).await;
    expect(post(&app, "/admin/dlq/replay", json!({ "dry_run": true })).await, 200).await;
    let replay = text(&accepted, "job_id");
    expect(admin(app.delete(&format!("/jobs/{replay}"))).send().await.unwrap(), 200).await;
    assert_eq!(admin(app.delete(&format!("/admin/dlq/{job}"))).send().await.unwrap().status(), 204);
    assert_eq!(admin(app.delete(&format!("/admin/dlq/{job}"))).send().await.unwrap().status(), 404);
    expect(post(&app, "/admin/jobs/cancel", json!({ "kind": "chat" })).await, 200).await;

    let log = get(&app, "/admin/audit").await;
    let entries: Vec<&Value> = log["items"].as_array().unwrap().iter().rev().collect();
    let seen = |entry: &Value| (text(entry, "action"), text(entry, "stage"), entry["count"].as_u64().unwrap());
    let expected = [
        ("pause_queue", 1),
        ("resume_queue", 2),
        ("replay_letter", 1),
        ("replay_letters", 1),
        ("cancel_replay", 1),
        ("discard_letter", 1),
        ("discard_letter", 0),
        ("cancel_jobs", 0),
    ];
    for (pair, (action, count)) in entries.chunks(2).zip(expected) {
        assert_eq!(seen(pair[0]), (action.to_owned(), "begun".to_owned(), 0));
        assert_eq!(seen(pair[1]), (action.to_owned(), "done".to_owned(), count));
        for same in ["request_id", "subject", "detail", "actor", "remote_address"] {
            assert_eq!(pair[0][same], pair[1][same], "{same}");
        }
    }
    assert_eq!(entries.len(), 2 * expected.len());
    let first = log["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&first["request_id"], &first["actor"]), (&json!("my-request"), &json!("admin")));
    assert_eq!((&first["subject"], &first["detail"]), (&json!("chat"), &json!(null)));
    assert!(!log.to_string().contains("secret"), "{log}");
    let page = get(&app, "/admin/audit?limit=3").await;
    let next = get(&app, &format!("/admin/audit?limit=19&cursor={}", text(&page, "next_cursor"))).await;
    assert_eq!((next["items"].as_array().unwrap().len(), &next["next_cursor"]), (13, &json!(null)));
    problem(app.get("/admin/audit").send().await.unwrap(), 401, "unauthorized").await;
}

#[tokio::test]
async fn dead_letters_are_discarded_by_filter_and_a_dry_run_only_counts() {
    let app = App::start().await;
    let mut refused = Vec::new();
    for _ in 0..4 {
        refused.push(app.dead_letter("a secret question", Code::ContentRefused).await);
        app.dead_letter("q", Code::ContextTooLong).await;
    }
    let discard = async |body: Value| {
        let done = expect(post(&app, "/admin/dlq/discard", body).await, 200).await;
        assert!(text(&done, "dead_by").starts_with("20"), "{done}");
        [&done["matched"], &done["discarded"]].map(|count| count.as_u64().unwrap())
    };
    assert_eq!(discard(json!({ "code": "content_refused", "limit": 3, "dry_run": true })).await, [3, 0]);
    assert_eq!(discard(json!({ "kind": "ingest" })).await, [0, 0]);
    assert_eq!(discard(json!({ "code": "content_refused", "limit": 3 })).await, [3, 3]);
    let left = get(&app, "/admin/dlq?code=content_refused").await;
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["job_id"]), (1, &json!(refused[0])));
    assert_eq!(discard(json!({})).await, [5, 5]);
    assert_eq!(get(&app, "/admin/dlq").await["groups"], json!([]));

    let log = get(&app, "/admin/audit?limit=3").await;
    let [all, _, three] = [0, 1, 2].map(|entry| &log["items"][entry]);
    assert_eq!((&all["action"], &all["stage"], &all["count"]), (&json!("discard_letters"), &json!("done"), &json!(5)));
    assert_eq!(three["count"], 3);
    assert_eq!((&three["detail"]["code"], &three["detail"]["limit"]), (&json!("content_refused"), &json!(3)));
    for (wrong, field) in [
        (json!({ "reason": "x" }), "reason"),
        (json!({ "ids": [refused[0]] }), "ids"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "dead_by": "yesterday" }), "dead_by"),
        (json!({ "dead_by": "2026-01-01T00:00:00Z", "dry_run": true }), "dead_by"),
    ] {
        let refused = problem(post(&app, "/admin/dlq/discard", wrong).await, 422, "validation_failed").await;
        assert_eq!(fields(&refused), [field]);
    }
    problem(app.post("/admin/dlq/discard").send().await.unwrap(), 401, "unauthorized").await;
}

#[tokio::test]
async fn what_dies_after_a_dry_run_is_not_discarded_with_what_it_counted() {
    let app = App::start().await;
    let old = app.dead_letter("q", Code::ContextTooLong).await;
    let dry = expect(post(&app, "/admin/dlq/discard", json!({ "dry_run": true })).await, 200).await;
    assert_eq!(dry["matched"], 1);
    let new = app.dead_letter("q", Code::ContextTooLong).await;
    let died = &get(&app, "/admin/dlq").await["items"][0];
    assert_eq!(died["job_id"], json!(new));
    assert!(text(died, "dead_at") > text(&dry, "dead_by"), "{died} {dry}");
    let done = post(&app, "/admin/dlq/discard", json!({ "dead_by": dry["dead_by"], "limit": 1 })).await;
    assert_eq!(expect(done, 200).await["discarded"], 1);
    let left = get(&app, "/admin/dlq").await;
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["job_id"]), (1, &json!(new)), "not {old}");
}

#[tokio::test]
async fn jobs_are_cancelled_by_filter_and_a_dry_run_only_counts() {
    let app = App::start().await;
    for _ in 0..5 {
        app.ask("q").await;
    }
    app.fetch(Kind::Chat).await;
    expect(app.post("/documents").json(&json!({ "title": "t", "text": "x" })).send().await.unwrap(), 202).await;
    let cancel = async |body: Value| expect(post(&app, "/admin/jobs/cancel", body).await, 200).await;
    assert_eq!(cancel(json!({ "dry_run": true })).await, json!({ "matched": 6, "cancelled": 0 }));
    let queued = json!({ "kind": "chat", "status": ["queued", "scheduled"], "limit": 3 });
    assert_eq!(cancel(queued).await, json!({ "matched": 3, "cancelled": 3 }));
    assert_eq!(cancel(json!({ "status": ["running"] })).await, json!({ "matched": 1, "cancelled": 1 }));
    assert_eq!(cancel(json!({})).await, json!({ "matched": 2, "cancelled": 2 }));
    let wrong = json!({ "kind": "replay", "status": ["dead"], "limit": 0, "dry_run": 1 });
    let refused = problem(post(&app, "/admin/jobs/cancel", wrong).await, 422, "validation_failed").await;
    assert_eq!(fields(&refused), ["kind", "status", "limit", "dry_run"]);
}

#[tokio::test]
async fn the_history_is_told_in_intervals() {
    use ragq::queue::Maintenance as _;
    let app = App::start().await;
    app.ask("one").await;
    app.ask("two").await;
    app.store.upkeep().await.unwrap();
    let history = get(&app, "/admin/history?minutes=2").await;
    assert_eq!(history["interval_ms"], 15_000);
    let last = history["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["submitted"], &last["queued"], &last["kinds"]["chat"]["queued"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!((&last["wait_ms"], &last["kinds"]["ingest"]["submitted"]), (&json!(null), &json!(0)));
    let refused = admin(app.get("/admin/history?minutes=61")).send().await.unwrap();
    assert_eq!(fields(&problem(refused, 422, "validation_failed").await), ["minutes"]);
}
