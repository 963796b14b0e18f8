//! `GET /job-status` and `DELETE /jobs/{id}`.

use std::{sync::Arc, time::Duration};

use ragq::{
    domain::{
        clock::{Clock as _, SystemClock, Timestamp},
        failure::{Code, Failure},
        job::{JobError, Kind},
        spent::UsageTotal,
    },
    gate::{BreakerView, Operation},
    queue::{Deliveries, Fenced, Operations as _, Release},
    resilience::breaker::BreakerState,
};
use serde_json::json;

use super::harness::{App, Fixed, expect, fields, problem, text};
use crate::support::eventually;

const UNKNOWN: &str = "01J9ZC6M1V7H0Q8T3X5K2B4N6P";

#[tokio::test]
async fn a_job_is_shown_with_every_field_of_the_contract() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let queued = app.status(&job).await;
    assert_eq!(queued["status"], "queued");
    assert_eq!(queued["position"], 0);
    let names = ["job_id", "kind", "attempt", "max_attempts", "deliveries", "lost_leases", "deferrals", "created_at"];
    for name in names.iter().chain(&["started_at", "finished_at", "result", "error"]) {
        assert!(queued.get(name).is_some(), "{name} is missing");
    }
    let created = text(&queued, "created_at");
    assert!(created.len() == 24 && created.ends_with('Z'), "{created}");
    let delivery = app.fetch(Kind::Chat).await;
    let running = app.status(&job).await;
    assert_eq!((&running["status"], &running["attempt"]), (&json!("running"), &json!(1)));
    assert!(running.get("position").is_none());
    app.complete(&delivery, "Because.").await;
    let done = app.status(&job).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["result"]["answer"], "Because.");
    assert_eq!(done["error"], json!(null));
}

#[tokio::test]
async fn the_error_shows_while_the_job_waits_for_its_next_attempt() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    let error = JobError::from(&Failure::new(Code::ProviderTimeout, "no answer in time"));
    let release = Release::Retry { after: Duration::from_mins(10), error };
    assert_eq!(app.store.release(&delivery.lease, release, UsageTotal::default()).await.unwrap(), Fenced::Applied(()));
    let waiting = app.status(&job).await;
    assert_eq!(waiting["status"], "scheduled");
    assert_eq!(waiting["error"]["code"], "provider_timeout");
    assert_eq!(waiting["error"]["class"], "transient");
    assert!(waiting["error"]["retry_at"].is_string());
}

fn breaker(state: BreakerState, retry_in_ms: Option<u64>) -> BreakerView {
    BreakerView {
        provider: "a provider".into(),
        operation: Operation::Chat,
        state,
        code: None,
        message: None,
        consecutive_failures: 0,
        opened_at: None,
        retry_in_ms,
    }
}

#[tokio::test]
async fn a_job_that_could_be_worked_on_says_what_holds_it_up() {
    let open = |wait| breaker(BreakerState::Open, Some(wait));
    let app = App::with(|options| options.health = Arc::new(Fixed(vec![open(90_000), open(30_000)]))).await;
    let job = app.ask("q").await;
    let queued = app.status(&job).await;
    assert_eq!(queued["waiting_for"], "provider");
    let at: Timestamp = serde_json::from_value(queued["retry_at"].clone()).unwrap();
    let wait = at.since(SystemClock.now());
    assert!(Duration::ZERO < wait && wait <= Duration::from_secs(30), "the sooner one counts: {wait:?}");
    app.store.pause(&[Kind::Chat]).await.unwrap();
    eventually(async || (app.status(&job).await["waiting_for"] == "paused").then_some(())).await;
    assert!(app.status(&job).await.get("retry_at").is_none());
    app.store.resume(&[Kind::Chat]).await.unwrap();
    let delivery = app.fetch(Kind::Chat).await;
    assert!(app.status(&job).await.get("waiting_for").is_none(), "it runs");
    // One that waits for a time of its own is not held up.
    let error = JobError::from(&Failure::new(Code::ProviderTimeout, "no answer in time"));
    let release = Release::Retry { after: Duration::from_mins(10), error };
    assert_eq!(app.store.release(&delivery.lease, release, UsageTotal::default()).await.unwrap(), Fenced::Applied(()));
    assert!(app.status(&job).await.get("waiting_for").is_none());
}

#[tokio::test]
async fn a_job_waits_for_no_provider_while_one_of_them_or_none_of_its_kind_is_left_alone() {
    let other = BreakerView { operation: Operation::Embeddings, ..breaker(BreakerState::Open, Some(9_000)) };
    let one_well = vec![breaker(BreakerState::Open, Some(9_000)), breaker(BreakerState::Closed, None)];
    for breakers in [vec![other], one_well, vec![]] {
        let app = App::with(|options| options.health = Arc::new(Fixed(breakers.clone()))).await;
        let job = app.ask("q").await;
        let queued = app.status(&job).await;
        assert!(queued.get("waiting_for").is_none() && queued.get("retry_at").is_none(), "{queued}");
    }
}

#[tokio::test]
async fn unknown_and_malformed_ids_are_told_apart() {
    let app = App::start().await;
    for path in [format!("/job-status?job_id={UNKNOWN}"), format!("/jobs/{UNKNOWN}/events")] {
        problem(app.get(&path).send().await.unwrap(), 404, "job_not_found").await;
    }
    for bad in ["x", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01J9ZC6M1V7H0Q8T3X5K2B4N6I", "%F0%9F%98%80"] {
        for path in [format!("/job-status?job_id={bad}"), format!("/jobs/{bad}/events")] {
            problem(app.get(&path).send().await.unwrap(), 400, "malformed_job_id").await;
        }
        problem(app.delete(&format!("/jobs/{bad}")).send().await.unwrap(), 400, "malformed_job_id").await;
    }
    problem(app.delete(&format!("/jobs/{UNKNOWN}")).send().await.unwrap(), 404, "job_not_found").await;
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let app = App::start().await;
    let answer = app.get("/job-status?wait_ms=30001&wait=1").send().await.unwrap();
    assert_eq!(fields(&problem(answer, 422, "validation_failed").await), ["wait_ms", "job_id", "wait"]);
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_job_is_final() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let path = format!("/job-status?job_id={job}&wait_ms=30000");
    let poll = app.get(&path).send();
    let work = async {
        let delivery = app.fetch(Kind::Chat).await;
        // Changes that are not the end do not end the wait.
        app.delta(&delivery, "Be").await;
        app.complete(&delivery, "Because.").await;
    };
    let (answer, ()) = tokio::join!(poll, work);
    assert_eq!(expect(answer.unwrap(), 200).await["status"], "completed");
    let again = expect(app.get(&path).send().await.unwrap(), 200).await;
    assert_eq!(again["status"], "completed");
}

#[tokio::test]
async fn a_long_poll_ends_with_its_time_and_tells_what_is() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let answer = app.get(&format!("/job-status?job_id={job}&wait_ms=50")).send().await.unwrap();
    assert_eq!(expect(answer, 200).await["status"], "queued");
}

#[tokio::test]
async fn a_long_poll_ends_when_the_process_drains() {
    let app = App::start().await;
    let job = app.ask("q").await;
    app.drain.cancel();
    // Without the drain this would take longer than the client waits.
    let answer = app.get(&format!("/job-status?job_id={job}&wait_ms=30000")).timeout(Duration::from_secs(25));
    assert_eq!(expect(answer.send().await.unwrap(), 200).await["status"], "queued");
}

#[tokio::test]
async fn cancelling_takes_the_job_from_its_worker() {
    let app = App::start().await;
    let job = app.ask("q").await;
    let delivery = app.fetch(Kind::Chat).await;
    let cancelled = expect(app.delete(&format!("/jobs/{job}")).send().await.unwrap(), 200).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(app.store.append_delta(&delivery.lease, "late".into()).await.unwrap(), Fenced::Stale);
    let again = expect(app.delete(&format!("/jobs/{job}")).send().await.unwrap(), 200).await;
    assert_eq!(again["status"], "cancelled");
}

#[tokio::test]
async fn cancelling_a_finished_job_changes_nothing() {
    let app = App::start().await;
    let job = app.ask("q").await;
    app.complete(&app.fetch(Kind::Chat).await, "Because.").await;
    let answer = expect(app.delete(&format!("/jobs/{job}")).send().await.unwrap(), 200).await;
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["result"]["answer"], "Because.");
}
