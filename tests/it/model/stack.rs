//! The order of what happens around a call, seen from outside: who refuses, and what that costs.

use std::time::Duration;

use ragq::{
    config::settings,
    domain::failure::{Code, Failure},
    gate::{Cost, Gates},
    model::{AnswerModel, Bounds, openai::OpenAiModel},
};
use tokio::time::{Instant, timeout};

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

/// A model that may have one call under way, and its gates.
fn alone(provider: &ScriptedProvider, change: impl FnOnce(&mut settings::Model)) -> (OpenAiModel, Gates) {
    let gates = gates_with(|settings| {
        settings.worker.chat_slots = 1;
        settings.model.tokens_per_minute = Some(5_000);
        settings.breaker.pause_ms = 600_000;
        settings.breaker.longest_pause_ms = 600_000;
    });
    let mut settings = settings(&provider.base_url());
    change(&mut settings);
    (OpenAiModel::new(&settings, &gates.chat()[0]).unwrap(), gates)
}

#[tokio::test]
async fn places_are_taken_after_rate_admission_and_are_limited_only_while_the_breaker_is_closed() {
    let provider = ScriptedProvider::start(vec![]).await;
    let (model, gates) = alone(&provider, |_| ());
    let gate = &gates.chat()[0];
    let crowded = |failure: &Failure| failure.message.contains("calls are under way");
    let place = gate.enter(Duration::ZERO).await.unwrap();
    // Far more often than the budget could pay for.
    for _ in 0..20 {
        let refused = failure(&model, Bounds::default()).await;
        assert!(refused.code == Code::BudgetExhausted && crowded(&refused), "{refused}");
    }
    let rest = gate.reserve(SPENT, Duration::ZERO).await.unwrap();
    let refused = failure(&model, Bounds::default()).await;
    assert!(refused.code == Code::BudgetExhausted && !crowded(&refused), "what can't be paid waits nowhere: {refused}");
    drop(rest);
    gate.admit().await.unwrap().failed(Failure::new(Code::ProviderUnauthorized, "closed for long"));
    // A probe waits for nobody: the place that is taken is in nobody's way.
    for _ in 0..3 {
        assert_eq!(failure(&model, Bounds::default()).await.code, Code::BreakerOpen);
    }
    drop(place);
    provider.finish();
}

#[tokio::test]
async fn waiting_for_a_turn_is_held_against_nobody_since_the_timeouts_stand_inside() {
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    let provider = ScriptedProvider::start(vec![Reply::text("yes")]).await;
    let (model, gates) = alone(&provider, |settings| {
        settings.first_token_timeout_ms = TIMEOUT.as_millis() as u64;
        settings.call_timeout_ms = TIMEOUT.as_millis() as u64;
    });
    let place = gates.chat()[0].enter(Duration::ZERO).await.unwrap();
    let mut answer = std::pin::pin!(ask_with(&model, request()));
    assert!(timeout(TIMEOUT + TIMEOUT / 4, &mut answer).await.is_err(), "it waits for its place");
    assert!(provider.calls().is_empty());
    drop(place);
    assert_eq!(answer.await.unwrap().text, "yes");
    assert_eq!(gates.chat()[0].view().consecutive_failures, 0);
    provider.finish();
}

#[tokio::test]
async fn nothing_in_the_stack_tries_again() {
    let faults = || {
        vec![
            Reply::status(500),
            Reply::status(503).header("retry-after", "0"),
            Reply::error(429, "rate_limit_exceeded", "m").header("retry-after-ms", "1"),
            Reply::status(408),
            Reply::status(307).header("location", "/v1/chat/completions"),
            Reply::reset(),
            Reply::hang_up(),
            Reply::text("one two").cut_after(1),
            Reply::text("one two").reset_after(1),
        ]
    };
    for (number, fault) in faults().into_iter().enumerate() {
        // A connection that is used again: many clients take its end for a reason to send once more.
        let provider = ScriptedProvider::start(vec![Reply::text("yes"), fault]).await;
        let model = OpenAiModel::new(&settings(&provider.base_url()), &gates_with(|_| ()).chat()[0]).unwrap();
        ask_with(&model, request()).await.unwrap();
        ask_with(&model, request()).await.unwrap_err();
        let counts = provider.counts();
        assert_eq!((counts.calls, counts.connections), (2, 1), "fault {number}");
        provider.finish();
    }
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
async fn limits_are_learned_from_refusals_and_failures_too() {
    for status in [429, 500, 400] {
        let reply = Reply::status(status).header("x-ratelimit-limit-requests", "60");
        let provider = ScriptedProvider::start(vec![reply.header("x-ratelimit-remaining-requests", "0")]).await;
        let gates = gates_with(|_| ());
        let model = OpenAiModel::new(&settings(&provider.base_url()), &gates.chat()[0]).unwrap();
        assert_ne!(failure(&model, Bounds::default()).await.code, Code::BudgetExhausted);
        let refused = failure(&model, Bounds::default()).await;
        assert_eq!(refused.code, Code::BudgetExhausted, "after a {status}");
        assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_millis(1_100)), "{refused:?}");
        provider.finish();
    }
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
