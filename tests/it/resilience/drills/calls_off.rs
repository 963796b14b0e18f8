//! Calls that are of no use any more: closed at the provider, so that no token of theirs is paid for.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::scene::{Scene, timed};
use crate::{
    faults::{deployment::question, report, size},
    resilience::row::milliseconds_of,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// Streams that say one token a minute, each of a job of its own; and these jobs.
async fn streaming(jobs: usize, deadline_ms: Option<u64>) -> (Scene, Vec<String>) {
    let scene =
        Scene::start(&["--first-token-ms", "0", "--token-ms", "60000"], 2, &[("RAGQ_WORKER__CHAT_SLOTS", "200")]).await;
    let questions = (0..jobs).map(|number| {
        let mut question = question(number);
        question["deadline_ms"] = deadline_ms.map_or(Value::Null, Value::from);
        question
    });
    let submitted = scene.deployment.callers.ask(questions).await;
    scene.counted(PATIENCE, |stats| stats["in_flight"] == jobs).await;
    (scene, submitted)
}

/// All calls were closed, each before its second token.
fn all_closed(stats: &Value, jobs: usize) {
    assert_eq!((&stats["closed_by_caller"], &stats["calls"]), (&jobs.into(), &jobs.into()), "{stats}");
    assert!(stats["completion_tokens"].as_u64() <= Some(jobs as u64), "{stats}");
}

#[tokio::test]
async fn a_cancelled_job_closes_its_call() {
    let jobs = size(20, 200);
    let (scene, submitted) = streaming(jobs, None).await;
    let cancel = join_all(submitted.iter().map(|job| scene.deployment.callers.cancel(job)));
    let ((), took) = timed(async {
        cancel.await;
        scene.counted(PATIENCE, |stats| stats["in_flight"] == 0).await;
    })
    .await;
    all_closed(&scene.sim.stats().await, jobs);
    let views = scene.deployment.finish().await;
    assert_eq!(views.iter().filter(|view| view["status"] == "cancelled").count(), jobs);
    report("jobs cancelled", &format!("{jobs} calls closed {:.2} s after the first cancellation", took.as_secs_f64()));
}

#[tokio::test]
async fn a_missed_deadline_closes_its_call() {
    let jobs = size(20, 200);
    // Long enough for all to begin on a busy machine.
    let deadline_ms = size(5_000, 10_000);
    let (scene, submitted) = streaming(jobs, Some(deadline_ms)).await;
    let callers = &scene.deployment.callers;
    let views = callers.all_ended(&submitted).await;
    let ((), took) = timed(async {
        scene.counted(PATIENCE, |stats| stats["in_flight"] == 0).await;
    })
    .await;
    let mut latest = 0;
    for view in views {
        assert_eq!((&view["status"], &view["error"]["code"]), (&json!("dead"), &json!("deadline_exceeded")), "{view}");
        let lived = milliseconds_of(&view["finished_at"]) - milliseconds_of(&view["created_at"]);
        latest = latest.max(lived - deadline_ms as i64);
    }
    all_closed(&scene.sim.stats().await, jobs);
    scene.deployment.finish().await;
    report(
        "deadlines missed",
        &format!("dead {latest} ms after it at most, {jobs} calls closed {:.2} s after that", took.as_secs_f64()),
    );
}
