//! The provider's routes, as `OpenAI` has them, and the drill's own below `/sim/`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    fault::Operation,
    plan::MAX_DIMENSIONS,
    reply::{error, refused, standing, whole},
    sim::{Call, Sim},
    speech::{self, Answer},
    vectors,
};
use crate::{
    domain::clock::{Clock as _, SystemClock},
    text::tokens,
};

/// The largest request that is read.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// All routes.
pub(super) fn routes(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .route("/sim/plan", get(plan).put(change))
        .route("/sim/stats", get(stats).delete(take_stats))
        .fallback(async || error(StatusCode::NOT_FOUND, "unknown_url", "There is no such route."))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(sim)
}

#[derive(Deserialize)]
struct ChatRequest {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(alias = "max_completion_tokens")]
    max_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl Content {
    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => tokens::estimate(text),
            Self::Parts(parts) => parts.iter().filter_map(|part| part.text.as_deref()).map(tokens::estimate).sum(),
        }
    }
}

#[derive(Deserialize)]
struct EmbeddingsRequest {
    model: String,
    input: Input,
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

/// The key that a call shows, as `OpenAI` or as Azure takes it.
fn key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| headers.get("api-key").and_then(|value| value.to_str().ok()))
}

fn unreadable(mut call: Call, why: &serde_json::Error) -> Response {
    call.replied(400);
    call.over();
    error(StatusCode::BAD_REQUEST, "invalid_request", &format!("The request can't be read: {why}."))
}

async fn chat(State(sim): State<Arc<Sim>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut call = sim.arrived(Operation::Chat);
    let request: ChatRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(why) => return unreadable(call, &why),
    };
    drop(body);
    let of = |message: &Message| message.content.as_ref().map_or(0, Content::tokens) + tokens::OF_MESSAGE;
    let prompt = request.messages.iter().map(of).sum::<usize>() as u64;
    let wanted = call.plan.answer_tokens;
    let may_say = request.max_tokens.unwrap_or(wanted);
    let fault = match call.admit(key(&headers), prompt, may_say.into()) {
        Ok(fault) => fault,
        Err(refusal) => return refused(call, &refusal),
    };
    let said = wanted.min(may_say);
    let finish = if said < wanted { "length" } else { "stop" };
    let usage = json!({ "prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + u64::from(said) });
    let created = SystemClock.now().0 / 1000;
    if request.stream == Some(true) {
        tokio::time::sleep(std::time::Duration::from_millis(call.plan.first_token_ms)).await;
        let usage_asked = request.stream_options.and_then(|options| options.include_usage) == Some(true);
        let head = format!(
            r#"data: {{"id":"chatcmpl-sim","object":"chat.completion.chunk","created":{created},"model":{},"choices":"#,
            Value::from(request.model)
        );
        let answer = Answer { head, tokens: said, finish, usage: usage_asked.then(|| usage.to_string()) };
        call.replied(200);
        let limits = call.standing();
        let body = Body::from_stream(speech::stream(call, answer, fault));
        let mut response = ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response();
        standing(response.headers_mut(), limits);
        return response;
    }
    let plan = &call.plan;
    let takes = plan.first_token_ms + plan.token_ms * u64::from(said.saturating_sub(1));
    tokio::time::sleep(std::time::Duration::from_millis(takes)).await;
    call.said(said.into());
    let message = json!({ "role": "assistant", "content": speech::text(said) });
    let body = json!({ "id": "chatcmpl-sim", "object": "chat.completion", "created": created, "model": request.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage });
    whole(call, &body, fault.as_ref())
}

async fn embeddings(State(sim): State<Arc<Sim>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut call = sim.arrived(Operation::Embeddings);
    let request: EmbeddingsRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(why) => return unreadable(call, &why),
    };
    let texts = match request.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    let prompt = texts.iter().map(|text| tokens::estimate(text) as u64).sum();
    let fault = match call.admit(key(&headers), prompt, 0) {
        Ok(fault) => fault,
        Err(refusal) => return refused(call, &refusal),
    };
    tokio::time::sleep(std::time::Duration::from_millis(call.plan.first_token_ms)).await;
    let dimensions = request.dimensions.unwrap_or(call.plan.dimensions).clamp(1, MAX_DIMENSIONS);
    let vectors = texts.iter().enumerate().map(
        |(index, text)| json!({ "object": "embedding", "index": index, "embedding": vectors::of(text, dimensions) }),
    );
    let data: Vec<Value> = vectors.collect();
    let usage = json!({ "prompt_tokens": prompt, "total_tokens": prompt });
    let body = json!({ "object": "list", "model": request.model, "data": data, "usage": usage });
    whole(call, &body, fault.as_ref())
}

/// Any model's name is taken; this one is listed.
async fn models() -> Json<Value> {
    let model = json!({ "id": "simulated", "object": "model", "created": 0, "owned_by": "ragq" });
    Json(json!({ "object": "list", "data": [model] }))
}

async fn plan(State(sim): State<Arc<Sim>>) -> Response {
    Json(sim.plan().shown()).into_response()
}

async fn change(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let refuse = |why: &str| error(StatusCode::BAD_REQUEST, "invalid_plan", why);
    let change: Map<String, Value> = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(why) => return refuse(&format!("a plan is a JSON object: {why}")),
    };
    match sim.change(change) {
        Ok(plan) => Json(plan.shown()).into_response(),
        Err(why) => refuse(&why),
    }
}

async fn stats(State(sim): State<Arc<Sim>>) -> Response {
    Json(sim.stats()).into_response()
}

async fn take_stats(State(sim): State<Arc<Sim>>) -> Response {
    match sim.take_stats() {
        Ok(stats) => Json(stats).into_response(),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &why.to_string()),
    }
}
