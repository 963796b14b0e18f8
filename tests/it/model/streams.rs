//! Answers that do arrive, however oddly they travel, and what is sent for them.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::StreamExt;
use ragq::{
    domain::{answer::Usage, failure::Code},
    model::{AnswerModel, AnswerPart},
};
use serde_json::json;

use super::support::{KEY, PROMPT, ask, model_of, model_with, request, settings};
use crate::support::provider::{Gate, Reply, ScriptedProvider};

fn usage(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

#[tokio::test]
async fn an_answer_comes_in_deltas_and_ends_with_model_and_usage() {
    let reply = Reply::text("In the cellar, behind the coal [1].").pieces(5).usage(120, 9).model("served-1");
    let provider = ScriptedProvider::start(vec![reply]).await;
    let answered = ask(&model_of(&provider)).await.unwrap();
    assert_eq!(answered.text, "In the cellar, behind the coal [1].");
    assert_eq!(answered.deltas, 5);
    assert_eq!(answered.model, "served-1");
    assert_eq!(answered.usage, usage(120, 9));
    assert!(!answered.truncated);
    assert_eq!(provider.counts().disconnects, 0);
    provider.finish();
}

#[tokio::test]
async fn the_request_is_a_streamed_chat_completion_with_the_prompt() {
    let provider = ScriptedProvider::start(vec![Reply::text("yes")]).await;
    ask(&model_of(&provider)).await.unwrap();
    let calls = provider.calls();
    assert_eq!(calls[0].target, "/v1/chat/completions");
    assert_eq!(calls[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(calls[0].headers["content-type"], "application/json");
    assert_eq!(
        calls[0].body,
        json!({
            "model": "asked-1",
            "messages": [
                {"role": "system", "content": "You answer from passages."},
                {"role": "user", "content": "Hello?"},
                {"role": "assistant", "content": "Good evening."},
                {"role": "user", "content": PROMPT},
            ],
            "max_tokens": 1024,
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
}

#[tokio::test]
async fn without_a_key_no_authorization_header_is_sent() {
    let provider = ScriptedProvider::start(vec![Reply::text("yes")]).await;
    let mut settings = settings(&provider.base_url());
    settings.api_key = None;
    settings.temperature = Some(0.5);
    ask(&model_with(&settings)).await.unwrap();
    let call = &provider.calls()[0];
    assert!(!call.headers.contains_key("authorization") && !call.headers.contains_key("api-key"));
    assert_eq!(call.body["temperature"], 0.5);
}

#[tokio::test]
async fn the_base_address_may_end_in_a_slash_or_carry_a_query() {
    let provider = ScriptedProvider::start(vec![Reply::text("a"), Reply::text("b"), Reply::text("c")]).await;
    let root = provider.base_url().trim_end_matches("/v1").to_owned();
    for base in [format!("{root}/v1/"), root.clone(), format!("{root}/openai/d?api-version=2024-10-21")] {
        ask(&model_with(&settings(&base))).await.unwrap();
    }
    let targets: Vec<String> = provider.calls().into_iter().map(|call| call.target).collect();
    assert_eq!(
        targets,
        ["/v1/chat/completions", "/chat/completions", "/openai/d/chat/completions?api-version=2024-10-21"]
    );
}

#[tokio::test]
async fn usage_that_is_not_reported_is_zero() {
    let provider = ScriptedProvider::start(vec![Reply::text("yes").without_usage()]).await;
    assert_eq!(ask(&model_of(&provider)).await.unwrap().usage, Usage::default());
}

#[tokio::test]
async fn an_answer_is_whole_without_done_if_its_finish_was_said() {
    for reply in [
        Reply::text("yes").without_done(),
        Reply::text("yes").without_done().without_usage(),
        // The end is said only by [DONE].
        Reply::text("yes").without_finish_reason(),
    ] {
        let provider = ScriptedProvider::start(vec![reply]).await;
        assert_eq!(ask(&model_of(&provider)).await.unwrap().text, "yes");
    }
}

#[tokio::test]
async fn what_breaks_after_the_finish_breaks_nothing() {
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let finished = format!("data: {finish}\n\n");
    for end in ["data: {\"usa", "data: [DONE]", ""] {
        let reply = Reply::text("yes").garbage_after(3, format!("{finished}{end}"));
        let provider = ScriptedProvider::start(vec![reply]).await;
        assert_eq!(ask(&model_of(&provider)).await.unwrap().text, "yes", "{end:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_at_the_length_limit_says_so() {
    let provider = ScriptedProvider::start(vec![Reply::text("and then").finish_reason("length")]).await;
    let answered = ask(&model_of(&provider)).await.unwrap();
    assert!(answered.truncated);
    assert_eq!(answered.text, "and then");
}

#[tokio::test]
async fn letters_cut_in_two_by_the_network_arrive_whole() {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße aus 東京 🗼\"}}]}\r\n\r\n";
    let mut bytes: Vec<Vec<u8>> = event.bytes().map(|byte| vec![byte]).collect();
    bytes.push(b": a comment\r\n\r\ndata: [DONE]\r\n\r\n".to_vec());
    let provider = ScriptedProvider::start(vec![Reply::stream_of(bytes)]).await;
    assert_eq!(ask(&model_of(&provider)).await.unwrap().text, "Grüße aus 東京 🗼");
}

#[tokio::test]
async fn an_event_of_five_megabytes_is_taken() {
    let text = "word ".repeat(1 << 20);
    let provider = ScriptedProvider::start(vec![Reply::text(text.clone()).pieces(1)]).await;
    assert_eq!(ask(&model_of(&provider)).await.unwrap().text.len(), text.len());
}

#[tokio::test]
async fn what_other_servers_add_or_leave_out_does_no_harm() {
    let events = [
        // Azure's opening, a server without ids, roles and reasons of their own, content in parts, reasoning.
        "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{}]}\n\n",
        "event: message\ndata: {\"choices\":[{\"delta\":{\"role\":\"model\",\"content\":null},\"finish_reason\":\"\"}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another choice\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"In the \"}]}}]}\n\n",
        "data: {\"type\":\"ping\"}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"cellar\"},\"finish_reason\":\"eos\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        "data: [DONE]\n\n",
    ];
    let provider = ScriptedProvider::start(vec![Reply::stream_of(events)]).await;
    let answered = ask(&model_of(&provider)).await.unwrap();
    assert_eq!(answered.text, "In the cellar");
    assert_eq!(answered.model, "asked-1", "the name as configured, if the provider gives none");
    assert_eq!(answered.usage, usage(3, 4));
}

#[tokio::test]
async fn a_provider_that_does_not_stream_is_understood() {
    let provider = ScriptedProvider::start(vec![Reply::unstreamed("In the cellar [1].")]).await;
    let answered = ask(&model_of(&provider)).await.unwrap();
    assert_eq!((answered.text.as_str(), answered.usage), ("In the cellar [1].", usage(11, 7)));
}

#[tokio::test]
async fn white_space_before_the_first_word_is_kept() {
    let provider = ScriptedProvider::start(vec![Reply::text("\n\n  - one").pieces(9)]).await;
    assert_eq!(ask(&model_of(&provider)).await.unwrap().text, "\n\n  - one");
}

#[tokio::test]
async fn deltas_arrive_while_the_provider_still_speaks() {
    let gate = Gate::new();
    let provider = ScriptedProvider::start(vec![Reply::text("onetwo").pieces(2).held_after_first_by(&gate)]).await;
    let mut parts = model_of(&provider).answer(request()).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap(), AnswerPart::Delta("one".into()));
    gate.open();
    assert_eq!(parts.next().await.unwrap().unwrap(), AnswerPart::Delta("two".into()));
    assert!(matches!(parts.next().await.unwrap().unwrap(), AnswerPart::Done { .. }));
    assert!(parts.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_answer_closes_the_connection() {
    let provider = ScriptedProvider::start(vec![Reply::text("one two three").stall_after(1)]).await;
    let model = model_of(&provider);
    let mut parts = model.answer(request()).await.unwrap();
    parts.next().await.unwrap().unwrap();
    assert_eq!(provider.counts().disconnects, 0);
    drop(parts);
    provider.until("the caller go", |counts| counts.disconnects == 1).await;
    provider.finish();
}

#[tokio::test]
async fn giving_up_before_the_answer_began_closes_the_connection() {
    let provider = ScriptedProvider::start(vec![Reply::stall()]).await;
    let model = model_of(&provider);
    let mut asking = model.answer(request());
    tokio::select! {
        _ = &mut asking => unreachable!("a stall is no answer"),
        _ = provider.until("the call", |counts| counts.calls == 1) => {}
    }
    drop(asking);
    provider.until("the caller go", |counts| counts.disconnects == 1).await;
}

#[tokio::test]
async fn a_connection_serves_one_answer_after_another() {
    let provider = ScriptedProvider::start(vec![Reply::text("one"), Reply::text("two")]).await;
    let model = model_of(&provider);
    assert_eq!(ask(&model).await.unwrap().text, "one");
    assert_eq!(ask(&model).await.unwrap().text, "two");
    assert_eq!(provider.counts().connections, 1);
}

#[tokio::test]
async fn a_failed_answer_ends_its_stream() {
    let provider = ScriptedProvider::start(vec![Reply::text("one two").cut_after(1)]).await;
    let parts: Vec<_> = model_of(&provider).answer(request()).await.unwrap().collect().await;
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1].as_ref().unwrap_err().code, Code::StreamCut);
}

#[tokio::test]
async fn a_provider_that_refuses_stream_options_is_asked_without_them_next_time() {
    let refusal = Reply::error(400, "unknown_parameter", "Unknown parameter: 'stream_options'.");
    let provider = ScriptedProvider::start(vec![refusal, Reply::text("yes").without_usage()]).await;
    let model = model_of(&provider);
    let failure = ask(&model).await.unwrap_err();
    assert_eq!(failure.code, Code::ProviderError, "transient, so that the job tries again: {failure:?}");
    assert_eq!(ask(&model).await.unwrap().text, "yes");
    let calls = provider.calls();
    assert!(calls[0].body.get("stream_options").is_some());
    assert!(calls[1].body.get("stream_options").is_none());
}

#[tokio::test]
async fn a_model_that_refuses_max_tokens_is_given_the_newer_name_next_time() {
    let refusal = Reply::error(
        400,
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    );
    let provider = ScriptedProvider::start(vec![refusal, Reply::text("yes")]).await;
    let model = model_of(&provider);
    assert_eq!(ask(&model).await.unwrap_err().code, Code::ProviderError);
    ask(&model).await.unwrap();
    let second = &provider.calls()[1].body;
    assert_eq!((second.get("max_tokens"), &second["max_completion_tokens"]), (None, &json!(1024)));
}

#[tokio::test]
async fn a_value_that_is_refused_stays_refused() {
    let refusal = || Reply::error(400, "invalid_value", "max_tokens is too large: 1024, at most 512 are supported");
    let provider = ScriptedProvider::start(vec![refusal(), refusal()]).await;
    let model = model_of(&provider);
    for _ in 0..2 {
        assert_eq!(ask(&model).await.unwrap_err().code, Code::ProviderRejected);
    }
}

#[tokio::test]
async fn a_slow_answer_is_no_stalled_one() {
    let reply = Reply::text("a b c d e f").pieces(6).drip(Duration::from_millis(350));
    let provider = ScriptedProvider::start(vec![reply]).await;
    let mut settings = settings(&provider.base_url());
    settings.first_token_timeout_ms = 1_500;
    settings.idle_timeout_ms = 1_500;
    assert_eq!(ask(&model_with(&settings)).await.unwrap().text, "a b c d e f");
}
