//! The order of what happens around a call, seen from outside: who refuses, and what that costs.

use std::time::Duration;

use ragq::{
    domain::failure::{Code, Failure},
    gate::{Cost, Gates},
    model::{AnswerModel, Bounds, openai::OpenAiModel},
};
use tokio::time::Instant;

use super::support::{ask_with, gates_with, request, settings};
use crate::support::provider::{Reply, ScriptedProvider};

/// A model whose provider allows so many tokens a minute, and its gates.
fn limited(provider: &ScriptedProvider, tokens_per_minute: u64) -> (OpenAiModel, Gates) {
    let gates = gates_with(|settings| {
        settings.model.tokens_per_minute = Some(tokens_per_minute);
        settings.breaker.pause_ms = 600_000;
        settings.breaker.longest_pause_ms = 600_000;
    });
    (OpenAiModel::new(&settings(&provider.base_url()), &gates.chat()[0]).unwrap(), gates)
}

async fn failure(model: &OpenAiModel, bounds: Bounds) -> Failure {
    let mut request = request();
    request.bounds = bounds;
    ask_with(model, request).await.unwrap_err()
}

const SPENT: Cost = Cost { prompt: 4_000, longest_answer: 0 };

#[tokio::test]
async fn rate_admission_stands_before_the_breaker_and_a_refusal_of_either_costs_nothing() {
    let provider = ScriptedProvider::start(vec![]).await;
    let (model, gates) = limited(&provider, 5_000);
    let gate = &gates.chat()[0];
    let ticket = gate.admit().await.unwrap();
    ticket.failed(Failure::new(Code::ProviderUnauthorized, "closed for long"));
    // Far more often than the budget could pay for.
    for _ in 0..20 {
        assert_eq!(failure(&model, Bounds::default()).await.code, Code::BreakerOpen);
    }
    let rest = gate.reserve(SPENT, Duration::ZERO).await.unwrap();
    assert_eq!(failure(&model, Bounds::default()).await.code, Code::BudgetExhausted);
    drop(rest);
    assert!(provider.calls().is_empty());
    provider.finish();
}

#[tokio::test]
async fn the_deadline_stands_outside_and_ends_also_the_waiting_for_a_turn() {
    let provider = ScriptedProvider::start(vec![]).await;
    let (model, gates) = limited(&provider, 5_000);
    let _spent = gates.chat()[0].reserve(SPENT, Duration::ZERO).await.unwrap();
    let bounds = Bounds {
        deadline: Some(Instant::now() + Duration::from_millis(50)),
        patience: Duration::from_hours(1),
        ..Bounds::default()
    };
    assert_eq!(failure(&model, bounds).await.code, Code::DeadlineExceeded);
    assert!(provider.calls().is_empty());
    provider.finish();
}

#[tokio::test]
async fn a_call_larger_than_the_whole_budget_is_never_made() {
    let provider = ScriptedProvider::start(vec![]).await;
    let (model, _gates) = limited(&provider, 500);
    let refused = failure(&model, Bounds { patience: Duration::from_hours(1), ..Bounds::default() }).await;
    assert_eq!(refused.code, Code::LargerThanBudget, "1,024 tokens of an answer alone");
    provider.finish();
}

#[tokio::test]
async fn limits_are_learned_from_a_reply() {
    let reply =
        || Reply::text("yes").header("x-ratelimit-limit-requests", "60").header("x-ratelimit-remaining-requests", "0");
    let provider = ScriptedProvider::start(vec![reply()]).await;
    let gates = gates_with(|_| ());
    let model = OpenAiModel::new(&settings(&provider.base_url()), &gates.chat()[0]).unwrap();
    assert_eq!(ask_with(&model as &dyn AnswerModel, request()).await.unwrap().text, "yes");
    let refused = failure(&model, Bounds::default()).await;
    assert_eq!(refused.code, Code::BudgetExhausted);
    assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_millis(1_100)), "{refused:?}");
    provider.finish();
}
