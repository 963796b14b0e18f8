//! `OpenAiModel`: one streamed chat completion per question.
//!
//! The request is async-openai's and goes through the same tower stack as its client's calls, but the
//! reply is taken from the stack as it is. The client's own `create_stream` would read it in a detached
//! task with an unbounded queue, and write every event it can't read, answers included, to the log.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_openai::{
    config::Config,
    error::OpenAIError,
    middleware::HttpRequestFactory,
    types::chat::{
        ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage,
        ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, CreateChatCompletionRequest,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use tower::ServiceExt;

use super::{
    SetupError,
    dialect::{Dialect, Sent},
    endpoint::Endpoint,
    reading::{self, Limits, Served},
    stack::{self, Call, Clean, Stack, without_echo},
};
use crate::{
    config::settings,
    domain::failure::{Code, Failure},
    gate::{Cost, Gate},
    model::{AnswerModel, AnswerRequest, AnswerStream, Message, Role},
    text::tokens,
};

/// Answers by the chat completions of an OpenAI-compatible provider.
pub struct OpenAiModel {
    http: reqwest::Client,
    stack: Stack,
    endpoint: Endpoint,
    dialect: Dialect,
    name: String,
    served: Served,
    max_tokens: u32,
    temperature: Option<f32>,
    first_token: Duration,
    idle: Duration,
    call: Duration,
    /// Whether what is asked is told in traces.
    tells_content: bool,
}

impl OpenAiModel {
    /// A model as the settings say, behind its gate; nothing is sent yet.
    pub fn new(settings: &settings::Model, gate: &Arc<Gate>) -> Result<Self, SetupError> {
        let endpoint = Endpoint::new(settings)?;
        let http = stack::client(Duration::from_millis(settings.connect_timeout_ms))?;
        let first_token = Duration::from_millis(settings.first_token_timeout_ms);
        let call = Duration::from_millis(settings.call_timeout_ms);
        Ok(Self {
            stack: stack::stack(
                gate,
                first_token.min(call),
                stack::transport(http.clone(), endpoint.secret(), gate.clone()),
            ),
            http,
            dialect: Dialect::new(endpoint.is_official()),
            endpoint,
            name: settings.name.clone(),
            served: Served { provider: gate.provider().to_owned(), model: settings.name.clone() },
            max_tokens: settings.max_tokens,
            temperature: settings.temperature,
            first_token,
            idle: Duration::from_millis(settings.idle_timeout_ms),
            call,
            tells_content: gate.tells_content(),
        })
    }

    fn body(&self, messages: &[Message], sent: Sent) -> Result<Bytes, Failure> {
        let mut request = CreateChatCompletionRequest {
            model: self.name.clone(),
            messages: messages.iter().map(message).collect(),
            stream: Some(true),
            stream_options: sent
                .stream_options
                .then_some(ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None }),
            temperature: self.temperature,
            ..CreateChatCompletionRequest::default()
        };
        if sent.max_completion_tokens {
            request.max_completion_tokens = Some(self.max_tokens);
        } else {
            // The only name that many compatible servers know.
            #[expect(deprecated, reason = "deprecated by OpenAI, not by others")]
            {
                request.max_tokens = Some(self.max_tokens);
            }
        }
        // Boxed to its exact size: it waits beside thousands of others until it is sent.
        serde_json::to_vec(&request).map(|body| body.into_boxed_slice().into()).map_err(|error| {
            Failure::new(Code::Unknown, "the request to the provider could not be written").with_source(error)
        })
    }

    /// The request, to be sent once: while the provider thinks, nobody keeps a copy of it for another try.
    fn request(&self, body: Bytes) -> HttpRequestFactory {
        let request = self
            .http
            .post(self.endpoint.url("/chat/completions"))
            .query(&self.endpoint.query())
            .headers(self.endpoint.headers())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            // Wrapped, it can't be cloned, so that the HTTP client does not keep it for a redirect either.
            .body(reqwest::Body::wrap(reqwest::Body::from(body)));
        let once = Mutex::new(Some(request));
        HttpRequestFactory::new(move || {
            let request = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            let request = request.ok_or_else(|| OpenAIError::InvalidArgument("not repeatable".into()));
            async move { Ok(request?.build()?) }
        })
    }
}

fn message(message: &Message) -> ChatCompletionRequestMessage {
    let content = &*message.content;
    match message.role {
        Role::System => ChatCompletionRequestSystemMessage::from(content).into(),
        Role::User => ChatCompletionRequestUserMessage::from(content).into(),
        Role::Assistant => ChatCompletionRequestAssistantMessage::from(content).into(),
    }
}

#[async_trait]
impl AnswerModel for OpenAiModel {
    fn name(&self) -> &str {
        &self.name
    }

    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure> {
        let sent = Sent {
            stream_options: self.dialect.stream_options(),
            max_completion_tokens: self.dialect.max_completion_tokens(),
        };
        let limits = Limits { first_token: self.first_token, idle: self.idle, call: self.call };
        let AnswerRequest { question, passages, mut messages, bounds } = request;
        let prompt: usize =
            messages.iter().map(|message| tokens::estimate(&message.content) + tokens::OF_MESSAGE).sum();
        let cost = Cost { prompt: prompt as u64, longest_answer: u64::from(self.max_tokens) };
        let factory = self.request(self.body(&messages, sent)?);
        let prompt: Arc<[Message]> = if self.tells_content { messages.as_slice().into() } else { Arc::from([]) };
        // What is sent is kept to tell it from the provider's own words, and the answer may be long in coming: not also
        // the message that repeats what the asker keeps for its citations.
        messages.pop();
        let clean: Clean = Arc::new(move |failure| {
            let earlier = messages.iter().map(|message| &*message.content);
            let given = passages.iter().flat_map(|passage| {
                let headings = passage.headings.iter().map(String::as_str);
                [passage.title.as_str(), passage.text.as_str()].into_iter().chain(headings)
            });
            without_echo(failure, earlier.chain(given).chain([question.as_str()]))
        });
        let reply = self.stack.clone().oneshot(Call { factory, prompt, cost, bounds, clean: clean.clone() }).await;
        let answer =
            reply.and_then(|reply| reading::answer(reply, limits, &self.served, self.endpoint.secret(), clean));
        answer.map_err(|failure| self.dialect.learn(failure, sent))
    }
}
