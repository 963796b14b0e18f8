//! A provider with a hard limit of tokens a minute, and more work than it admits.

use std::time::Duration;

use serde_json::Value;

use super::scene::Scene;
use crate::faults::{
    deployment::{question, sum},
    full, report, size,
};

/// Most tokens of an answer that a call allows, and those that come.
const MAX_TOKENS: &str = "100";
const ANSWER_TOKENS: &str = "60";

#[tokio::test]
async fn a_limit_that_nobody_was_told_of_uses_no_attempt_and_loses_no_job() {
    let (per_minute, jobs) = size((12_000_u64, 72), (400_000, 4_000));
    let limit = per_minute.to_string();
    let sim = ["--tokens-per-minute", &limit, "--answer-tokens", ANSWER_TOKENS, "--first-token-ms", "100"];
    let settings = [("RAGQ_MODEL__MAX_TOKENS", MAX_TOKENS), ("RAGQ_WORKER__CHAT_SLOTS", "32")];
    let scene = Scene::start(&[&sim[..], &["--token-ms", "5"]].concat(), 2, &settings).await;
    let submitted = scene.deployment.callers.ask((0..jobs).map(question)).await;
    let views = scene.answered(&submitted).await;
    let stats = scene.sim.stats().await;
    let tokens = stats["prompt_tokens"].as_u64().unwrap() + stats["completion_tokens"].as_u64().unwrap();
    assert!(tokens > per_minute, "the bucket held less than all that was asked: {stats}");
    assert_eq!(stats["statuses"]["200"], jobs, "each job is answered once: {stats}");
    assert_eq!(sum(&views, "attempt"), views.len() as u64, "a limit uses no attempt");
    scene.deployment.finish().await;
}

#[tokio::test]
async fn a_hard_limit_of_tokens_is_kept_and_used_by_all_workers_together() {
    let (workers, per_minute, jobs) = size((2, 12_000_u64, 72), (8, 400_000, 9_800));
    let limit = per_minute.to_string();
    let sim = ["--tokens-per-minute", &limit, "--answer-tokens", ANSWER_TOKENS, "--first-token-ms", "200"];
    let settings = [
        ("RAGQ_MODEL__TOKENS_PER_MINUTE", limit.as_str()),
        ("RAGQ_MODEL__MAX_TOKENS", MAX_TOKENS),
        ("RAGQ_WORKER__CHAT_SLOTS", "32"),
    ];
    let scene = Scene::start(&[&sim[..], &["--token-ms", "5"]].concat(), workers, &settings).await;
    scene.sim.take_stats().await;
    let submitted = scene.deployment.callers.ask((0..jobs).map(question)).await;
    if full() {
        third_minute_on(&scene, per_minute).await;
    }
    let views = scene.answered(&submitted).await;
    let stats = scene.sim.stats().await;
    assert_eq!(sum(&views, "attempt"), views.len() as u64, "a limit uses no attempt");
    if !full() {
        assert!(stats["statuses"]["429"].as_u64() <= Some(1), "{stats}");
        assert_eq!(spent(&views, "calls"), stats["calls"].as_u64().unwrap(), "{stats}");
        for tokens in ["prompt_tokens", "completion_tokens"] {
            assert_eq!(spent(&views, tokens), stats[tokens].as_u64().unwrap(), "{tokens} as the provider counted");
        }
    }
    scene.deployment.finish().await;
}

/// What the jobs say that they cost.
fn spent(views: &[Value], what: &str) -> u64 {
    views.iter().map(|view| view["usage_total"][what].as_u64().unwrap()).sum()
}

/// From the third minute on: at most one 429 per 1,000 calls, at least 90 % of the budget used.
async fn third_minute_on(scene: &Scene, per_minute: u64) {
    const TWO_MINUTES: f64 = 120.0;
    let patience = Duration::from_mins(3);
    let passed = |stats: &Value| stats["seconds"].as_f64() >= Some(TWO_MINUTES);
    scene.counted(patience, passed).await;
    scene.sim.take_stats().await;
    let stats = scene.counted(patience, passed).await;
    let number = |field: &Value| field.as_u64().unwrap_or_default();
    let used = number(&stats["prompt_tokens"]) + number(&stats["completion_tokens"]);
    let share = used as f64 * 60.0 / (per_minute as f64 * stats["seconds"].as_f64().unwrap());
    let (calls, refused) = (number(&stats["calls"]), number(&stats["statuses"]["429"]));
    report(
        "hard limit of tokens, 8 workers, third and fourth minute",
        &format!("{calls} calls, {refused} of them 429, {:.1} % of the budget used", share * 100.0),
    );
    assert!(refused * 1_000 <= calls, "{stats}");
    assert!(share >= 0.9, "{share}: {stats}");
}
