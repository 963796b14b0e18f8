//! Several models as one: which of them answers, and when none is asked in another's place.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use ragq::{
    domain::failure::Code,
    gate::Gates,
    model::{AnswerModel, AnswerPart, fallback::Fallback, openai::OpenAiModel},
};

use super::support::{ask, gates_with, request, settings};
use crate::support::provider::{RefusingAddress, Reply, ScriptedProvider};

/// The models of these addresses as one.
fn fallback(first: &str, second: &str) -> (Fallback, Gates) {
    let gates = gates_with(|settings| {
        settings.fallback_1.name = Some("second-1".into());
        settings.breaker.pause_ms = 600_000;
        settings.breaker.longest_pause_ms = 600_000;
    });
    let model = |url: &str, place: usize| -> Arc<dyn AnswerModel> {
        Arc::new(OpenAiModel::new(&settings(url), &gates.chat()[place]).unwrap())
    };
    (Fallback::new(model(first, 0), vec![model(second, 1)]), gates)
}

#[tokio::test]
async fn a_provider_that_refuses_is_passed_over_and_then_left_alone() {
    for reply in [
        Reply::error(401, "invalid_api_key", "Incorrect API key provided"),
        Reply::error(404, "model_not_found", "no such model"),
        Reply::error(429, "insufficient_quota", "no money"),
        Reply::error(429, "rate_limit_exceeded", "slow down"),
        Reply::status(503),
    ] {
        let first = ScriptedProvider::start(vec![reply]).await;
        let second = ScriptedProvider::start(vec![Reply::text("one"), Reply::text("two")]).await;
        let (model, _gates) = fallback(&first.base_url(), &second.base_url());
        let parts: Vec<AnswerPart> = model.answer(request()).await.unwrap().try_collect().await.unwrap();
        let Some(AnswerPart::Done { provider, .. }) = parts.last() else { panic!("{parts:?}") };
        assert_eq!(provider, "fallback_1");
        assert_eq!(ask(&model).await.unwrap().text, "two", "the first is not asked again");
        first.finish();
        second.finish();
    }
}

#[tokio::test]
async fn what_goes_wrong_with_an_answer_is_the_jobs_matter() {
    for (reply, code) in [
        (Reply::status(500), Code::ProviderError),
        (Reply::error(400, "context_length_exceeded", "maximum context length"), Code::ContextTooLong),
        (Reply::text("half an answer").pieces(4).cut_after(2), Code::StreamCut),
    ] {
        let first = ScriptedProvider::start(vec![reply]).await;
        let second = ScriptedProvider::start(vec![]).await;
        let (model, _gates) = fallback(&first.base_url(), &second.base_url());
        assert_eq!(ask(&model).await.unwrap_err().code, code);
        first.finish();
        second.finish();
    }
}

#[tokio::test]
async fn when_all_refuse_the_job_comes_back_for_the_first_that_can_be_had_again() {
    let first = ScriptedProvider::start(vec![
        Reply::error(429, "rate_limit_exceeded", "slow down").header("retry-after", "3000"),
    ])
    .await;
    let second = ScriptedProvider::start(vec![Reply::error(429, "rate_limit_exceeded", "slow down")]).await;
    let (model, _gates) = fallback(&first.base_url(), &second.base_url());
    let refused = ask(&model).await.unwrap_err();
    assert_eq!(refused.code, Code::RateLimited);
    assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_mins(10)), "{refused:?}");
    first.finish();
    second.finish();
}

#[tokio::test]
async fn a_provider_that_failed_too_often_is_passed_over() {
    let nobody = RefusingAddress::new();
    let second = ScriptedProvider::start(vec![Reply::text("meanwhile")]).await;
    let (model, gates) = fallback(&nobody.base_url(), &second.base_url());
    for _ in 0..5 {
        assert_eq!(ask(&model).await.unwrap_err().code, Code::ProviderUnreachable, "attempts, until it is left alone");
    }
    let parts = model.answer(request()).await.unwrap();
    assert!(parts.count().await > 1);
    assert!(gates.chat()[0].admit().await.is_err());
    second.finish();
}
