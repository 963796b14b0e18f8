//! A provider with a hard limit of tokens a minute, and more work than it admits.

use super::scene::Scene;
use crate::faults::{
    deployment::{question, sum},
    size,
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
