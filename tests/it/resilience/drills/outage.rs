//! A provider that answers 500 for a while: left alone, tried by one call after each pause, and nothing lost.

use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, timed, within};
use crate::faults::{
    deployment::{question, sum},
    report, size,
};

/// Failures in a row that trip the breaker, by default.
const TRIP: u64 = 5;

/// Slots of each worker.
const SLOTS: u64 = 16;

/// A deployment of two workers, and how the breaker before the provider pauses.
async fn scene(pause_ms: &str, longest_pause_ms: &str) -> Scene {
    let slots = SLOTS.to_string();
    let settings = [
        ("RAGQ_WORKER__CHAT_SLOTS", slots.as_str()),
        ("RAGQ_BREAKER__PAUSE_MS", pause_ms),
        ("RAGQ_BREAKER__LONGEST_PAUSE_MS", longest_pause_ms),
        // Retries that come at once show best whether anybody holds them back.
        ("RAGQ_QUEUE__BACKOFF_CAP_MS", "100"),
    ];
    Scene::start(&["--first-token-ms", "20", "--token-ms", "0"], 2, &settings).await
}

/// What is known of jobs that lived through an outage.
struct Aftermath {
    /// Calls that failed.
    failed: u64,
    /// Attempts that were used by failures.
    used: u64,
    /// Calls that failed and used none: probes.
    probes: u64,
}

impl Aftermath {
    async fn of(scene: &Scene, jobs: &[String]) -> Self {
        let callers = &scene.deployment.callers;
        let views = scene.answered(jobs).await;
        let logs = callers.logs(jobs).await;
        let put_back = |event: &str, says: &str| {
            let events = logs.iter().flatten().filter(|(name, data)| name == event && data.to_string().contains(says));
            events.count() as u64
        };
        let stats = scene.sim.stats().await;
        let aftermath = Self {
            failed: stats["statuses"]["500"].as_u64().unwrap_or_default(),
            used: sum(&views, "attempt") - views.len() as u64,
            probes: put_back("deferred", "while the provider was being tried again"),
        };
        assert_eq!(aftermath.used, put_back("retrying", "provider_error"), "each attempt is used by a failed call");
        assert_eq!(aftermath.failed, aftermath.used + aftermath.probes, "{stats}");
        assert_eq!(stats["statuses"]["200"], jobs.len(), "each job is answered once: {stats}");
        aftermath
    }
}

#[tokio::test]
async fn an_outage_costs_a_call_for_each_pause_and_kills_no_job() {
    let (jobs, seconds) = size((150, 6), (1_000, 600));
    let (pause, longest_pause) = size(("200", "800"), ("1000", "30000"));
    let scene = scene(pause, longest_pause).await;
    scene.sim.plan(json!({ "faults": [format!("500,for={seconds}")] })).await;
    let submitted = scene.deployment.callers.ask((0..jobs).map(question)).await;
    let outage = Duration::from_secs(seconds);
    // Whoever asks is told.
    within(outage, async || {
        let ready = scene.get("/health/ready").await;
        (ready["status"] == "degraded" && ready["degraded"][0]["code"] == "provider_error").then_some(())
    })
    .await;
    scene.counted(outage + Duration::from_mins(1), |stats| stats["statuses"]["200"].is_u64()).await;
    let (Aftermath { failed, used, probes }, took) = timed(Aftermath::of(&scene, &submitted)).await;
    assert!(failed <= 2 * SLOTS + TRIP + probes, "{failed} failed calls, {probes} probes");
    // Pauses are at least three quarters of what they double to.
    let least_pause = size(0.15, 0.75);
    let longest = size(0.6, 22.5);
    let most = most_probes(least_pause, longest, seconds as f64);
    assert!(probes <= most, "{probes} probes, {most} pauses at most");
    scene.deployment.finish().await;
    report(
        &format!("provider answers 500 for {seconds} s, {jobs} jobs waiting"),
        &format!(
            "dead 0, calls that failed {failed}: {used} used an attempt, {probes} were probes; all answered {:.0} s \
             after the first",
            took.as_secs_f64()
        ),
    );
}

/// So many pauses that double from the least one fit into the time, and one more that goes beyond.
fn most_probes(least: f64, longest: f64, seconds: f64) -> u64 {
    let mut pause = least;
    let (mut passed, mut probes) = (0.0, 1);
    while passed + pause <= seconds {
        passed += pause;
        pause = (pause * 2.0).min(longest);
        probes += 1;
    }
    probes
}

#[tokio::test]
async fn a_provider_that_fails_is_called_at_the_rate_of_probes_within_one_window() {
    let (jobs, window, seconds) = size((100, 2, 5), (1_000, 30, 60));
    let (pause, longest_pause) = size(("400", "400"), ("1000", "30000"));
    let scene = scene(pause, longest_pause).await;
    scene.sim.plan(json!({ "faults": [format!("500,for={seconds}")] })).await;
    scene.sim.take_stats().await;
    let submitted = scene.deployment.callers.ask((0..jobs).map(question)).await;
    let passed = |seconds: u64| move |stats: &serde_json::Value| stats["seconds"].as_f64() >= Some(seconds as f64);
    let patience = Duration::from_secs(seconds);
    scene.counted(patience, passed(window)).await;
    let first = scene.sim.stats().await;
    let later = scene.counted(patience, passed(seconds - 1)).await;
    let calls = |stats: &serde_json::Value| stats["calls"].as_u64().unwrap();
    // After a window of 30 s the pauses are at their longest, or nearly so.
    let least_pause = size(0.3, 12.0);
    let at_most = ((seconds - 1 - window) as f64 / least_pause).ceil() as u64 + 1;
    let (before, after) = (calls(&first), calls(&later) - calls(&first));
    assert!(after <= at_most, "{after} calls after the window, {at_most} pauses at most: {later}");
    Aftermath::of(&scene, &submitted).await;
    scene.deployment.finish().await;
    report(
        &format!("provider answers 500 for {seconds} s, {jobs} jobs waiting"),
        &format!("calls within the first {window} s: {before}, after that: {after}"),
    );
}
