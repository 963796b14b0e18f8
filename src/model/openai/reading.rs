//! An answer out of a reply: deltas, then one `Done`, or the failure that ended it.
//!
//! The events are read leniently where async-openai's types are strict: compatible providers leave out
//! `id` or `created`, add finish reasons and roles of their own, send `content` as parts. Only what an
//! answer is made of is looked at.
//!
//! Nothing runs in the background: whoever drops the stream drops the reply, and with it the connection.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use reqwest::Response;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    classify::{self, Finish},
    error_body::{ErrorBody, looks_html},
    frames::{Frame, Frames, MAX_FRAME, TooLarge},
    stack::{Clean, garbled, of_error_body, of_transport, place, ticket_of},
};
use crate::{
    domain::{
        answer::Usage,
        failure::{Code, Failure},
    },
    gate::Ticket,
    model::{AnswerPart, AnswerStream},
    text::tokens,
};

/// An answer longer than this is a provider gone mad.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How long to wait for the usage and the end after the answer itself is whole.
const TAIL: Duration = Duration::from_secs(2);
/// How long to wait for the reply's own end, so that the connection can be used again.
const CLOSING: Duration = Duration::from_millis(50);

/// The times that bound a reply; counted from when the call was let through, for its turn it may have waited long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Within which the first token must have come, from the beginning.
    pub(super) first_token: Duration,
    /// The longest silence after it.
    pub(super) idle: Duration,
    /// Within which the answer must be whole, from the beginning.
    pub(super) call: Duration,
}

/// Who answers, as configured: the model's name is reported if the provider gives none itself.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// The provider.
    pub(super) provider: String,
    /// The model.
    pub(super) model: String,
}

/// The answer that a successful reply brings. How it ends is
/// reported through the ticket that the reply brought along.
pub(super) fn answer(
    mut response: Response,
    limits: Limits,
    served: &Served,
    key: &str,
    clean: Clean,
) -> Result<AnswerStream, Failure> {
    let account = Account { ticket: ticket_of(&mut response), clean };
    let began = account.ticket.as_ref().map_or_else(Instant::now, Ticket::began);
    let streamed = match is_streamed(&response) {
        Ok(streamed) => streamed,
        Err(failure) => return Err(account.failed(failure)),
    };
    let reading = Reading {
        account,
        done: false,
        response: Some(response),
        streamed,
        began,
        limits,
        key: key.to_owned(),
        frames: Frames::default(),
        body: Vec::new(),
        heard: Instant::now(),
        received: 0,
        spoke: false,
        said: String::new(),
        length: 0,
        events: 0,
        refusal: false,
        finish: None,
        provider: served.provider.clone(),
        model: served.model.clone(),
        usage: Usage::default(),
    };
    Ok(stream::try_unfold(reading, |mut reading| async move {
        match reading.next().await {
            Ok(part) => Ok(part.map(|part| (part, reading))),
            Err(failure) => Err(reading.account.failed(failure)),
        }
    })
    .boxed())
}

fn is_streamed(response: &Response) -> Result<bool, Failure> {
    match media_type(response).as_deref() {
        // Some servers name no type, and stream all the same.
        None | Some("text/event-stream") => Ok(true),
        Some("application/json") => Ok(false),
        Some("text/html" | "application/xhtml+xml") => Err(garbled("it was a page, not an answer")),
        Some(_) => Err(garbled("its content type is none of an answer")),
    }
}

/// Who is told how the call goes.
struct Account {
    ticket: Option<Ticket>,
    clean: Clean,
}

impl Account {
    fn heard(&mut self, text: &str) {
        if let Some(ticket) = &mut self.ticket {
            ticket.spoke();
            ticket.heard(tokens::estimate(text) as u64);
        }
    }

    fn said(&mut self, text: &str) {
        if let Some(ticket) = &mut self.ticket {
            ticket.said(text);
        }
    }

    fn succeeded(&mut self, model: &str, finish: Finish, usage: Usage) {
        if let Some(ticket) = self.ticket.take() {
            ticket.answered_by(model, if finish == Finish::Truncated { "length" } else { "stop" });
            ticket.succeeded(usage);
        }
    }

    fn failed(mut self, failure: Failure) -> Failure {
        let failure = (self.clean)(failure);
        match self.ticket.take() {
            Some(ticket) => ticket.failed(failure),
            None => failure,
        }
    }
}

/// The type of a reply's body in lower case, without parameters.
pub(super) fn media_type(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty()).then_some(essence)
}

struct Reading {
    account: Account,
    done: bool,
    /// Gone once it is read.
    response: Option<Response>,
    streamed: bool,
    began: Instant,
    limits: Limits,
    key: String,
    frames: Frames,
    /// What came of a reply that is no stream.
    body: Vec<u8>,
    /// When the last event came.
    heard: Instant,
    received: usize,
    /// Whether a token came, be it one of its reasoning.
    spoke: bool,
    /// What has been said, as long as it is but white space.
    said: String,
    length: usize,
    events: usize,
    refusal: bool,
    finish: Option<Finish>,
    provider: String,
    model: String,
    usage: Usage,
}

#[derive(Deserialize)]
struct Event {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<ReportedUsage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    /// In a stream.
    delta: Option<Delta>,
    /// In a reply that is not one.
    message: Option<Delta>,
    finish_reason: Option<Value>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Value>,
    refusal: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<Value>,
}

#[derive(Deserialize)]
struct ReportedUsage {
    #[serde(rename = "prompt_tokens")]
    prompt: Option<u64>,
    #[serde(rename = "completion_tokens")]
    completion: Option<u64>,
    #[serde(rename = "total_tokens")]
    total: Option<u64>,
}

impl From<ReportedUsage> for Usage {
    fn from(usage: ReportedUsage) -> Self {
        let (prompt_tokens, completion_tokens) = (usage.prompt.unwrap_or(0), usage.completion.unwrap_or(0));
        let total_tokens = usage.total.unwrap_or(prompt_tokens.saturating_add(completion_tokens));
        Self { prompt_tokens, completion_tokens, total_tokens }
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<AnswerPart>, Failure> {
        while !self.done {
            if let Some(frame) = self.frame()? {
                if frame.data.trim_ascii() == b"[DONE]" {
                    self.close().await;
                    return self.whole().map(Some);
                }
                if let Some(text) = self.take(&frame.data, frame.error)? {
                    return Ok(Some(AnswerPart::Delta(text)));
                }
            } else if self.response.is_some() {
                match self.receive().await {
                    Ok(Some(bytes)) => self.push(&bytes)?,
                    Ok(None) => self.response = None,
                    // The answer was whole before the connection broke or fell silent.
                    Err(_) if self.finish.is_some() => self.response = None,
                    Err(failure) => return Err(failure),
                }
            } else {
                return self.ended().map(Some);
            }
        }
        Ok(None)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.received = self.received.saturating_add(bytes.len());
        if self.streamed {
            self.frames.push(bytes);
        } else if self.received > MAX_FRAME {
            return Err(too_large());
        } else {
            self.body.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// The next event of what came so far; of a reply that is no stream, its whole body as one.
    fn frame(&mut self) -> Result<Option<Frame>, Failure> {
        if !self.streamed {
            let whole = self.response.is_none() && !self.body.is_empty();
            return Ok(whole.then(|| Frame { data: std::mem::take(&mut self.body), error: false }));
        }
        if let Some(frame) = self.frames.next().map_err(|TooLarge| too_large())? {
            return Ok(Some(frame));
        }
        if self.response.is_some() {
            return Ok(None);
        }
        let rest = self.frames.rest().map_err(|TooLarge| too_large())?;
        // Half an event is no garbage: it is where the stream was cut.
        let cut = |frame: &Frame| {
            frame.data.trim_ascii() != b"[DONE]" && serde_json::from_slice::<IgnoredAny>(&frame.data).is_err()
        };
        match rest {
            Some(frame) if cut(&frame) && self.finish.is_none() => Err(stream_cut()),
            Some(frame) if cut(&frame) => Ok(None),
            other => Ok(other),
        }
    }

    /// The next bytes, within the time that the state of the answer allows.
    async fn receive(&mut self) -> Result<Option<Bytes>, Failure> {
        let (Limits { first_token, idle, call }, began) = (self.limits, self.began);
        let whole_by = began + call;
        let token_by = if self.finish.is_some() {
            self.heard + idle.min(TAIL)
        } else if self.spoke {
            self.heard + idle
        } else if self.streamed {
            began + first_token
        } else {
            whole_by
        };
        let Some(response) = &mut self.response else { return Ok(None) };
        match timeout_at(whole_by.min(token_by), response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(of_transport(error, true)),
            Err(_) if whole_by <= token_by => {
                Err(Failure::new(Code::ProviderTimeout, format!("the provider's answer was not whole within {call:?}")))
            }
            Err(_) if self.spoke => {
                Err(Failure::new(Code::StreamStalled, format!("the provider's answer fell silent for {idle:?}")))
            }
            Err(_) => {
                Err(Failure::new(Code::ProviderTimeout, format!("the provider said nothing within {first_token:?}")))
            }
        }
    }

    /// What one event adds to the answer.
    fn take(&mut self, data: &[u8], is_error: bool) -> Result<Option<String>, Failure> {
        let value: Value = match serde_json::from_slice(data) {
            Ok(value) => value,
            Err(_) if is_error => return Err(self.broken_off(ErrorBody::of(data))),
            Err(_) if looks_html(&String::from_utf8_lossy(data)) => return Err(garbled("it held a page")),
            Err(error) => return Err(garbled("it held what is no JSON").with_source(place(&error))),
        };
        if let Some(error) = ErrorBody::of_json(&value) {
            return Err(self.broken_off(error));
        }
        if is_error {
            return Err(self.broken_off(ErrorBody::default()));
        }
        let event = Event::deserialize(value)
            .map_err(|error| garbled("it held an unknown event").with_source(place(&error)))?;
        self.events += 1;
        self.heard = Instant::now();
        if let Some(model) = event.model.filter(|model| !model.is_empty()) {
            self.model = model;
        }
        if let Some(usage) = event.usage {
            self.usage = usage.into();
        }
        match event.choices.into_iter().flatten().find(|choice| choice.index == 0) {
            Some(choice) => self.choice(choice),
            None => Ok(None),
        }
    }

    fn choice(&mut self, choice: Choice) -> Result<Option<String>, Failure> {
        if let Some(reason) = choice.finish_reason.as_ref().and_then(Value::as_str).filter(|reason| !reason.is_empty())
        {
            self.finish = Some(classify::finish(reason));
        }
        let Some(delta) = choice.delta.or(choice.message) else { return Ok(None) };
        let text = delta.content.as_ref().map(text_of).unwrap_or_default();
        let refusal = delta.refusal.is_some_and(|refusal| !refusal.is_empty());
        let reasoning = delta.reasoning_content.as_ref().map(text_of).unwrap_or_default();
        self.refusal |= refusal;
        if refusal || !reasoning.is_empty() || !text.is_empty() {
            self.spoke = true;
            self.account.heard(&reasoning);
            self.account.heard(&text);
            self.account.said(&text);
        }
        if text.is_empty() {
            return Ok(None);
        }
        self.length = self.length.saturating_add(text.len());
        if self.length > MAX_ANSWER {
            return Err(too_large());
        }
        // White space is held back until a word follows: an answer of nothing else is none.
        self.said.push_str(&text);
        if self.said.trim().is_empty() && !self.said_a_word() {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.said)))
    }

    /// Whether a delta with more than white space was given out.
    fn said_a_word(&self) -> bool {
        self.length > self.said.len()
    }

    /// The end by the reply's own end.
    fn ended(&mut self) -> Result<AnswerPart, Failure> {
        if self.finish.is_some() || (!self.streamed && self.events > 0) {
            return self.whole();
        }
        Err(match (self.received, self.events) {
            (0, _) => Failure::new(Code::EmptyAnswer, "the provider's reply was empty"),
            (_, 0) => garbled("it held no event of an answer"),
            _ => stream_cut(),
        })
    }

    /// The end of an answer that the provider says is whole.
    fn whole(&mut self) -> Result<AnswerPart, Failure> {
        self.done = true;
        let finish = self.finish.unwrap_or(Finish::Whole);
        match finish {
            Finish::Refused => {
                return Err(Failure::new(Code::ContentRefused, "the provider's content filter stopped the answer"));
            }
            Finish::Failed => return Err(Failure::new(Code::ProviderError, "the provider broke off the answer")),
            Finish::Whole | Finish::Truncated => {}
        }
        if self.said_a_word() {
            self.account.succeeded(&self.model, finish, self.usage);
            return Ok(AnswerPart::Done {
                provider: std::mem::take(&mut self.provider),
                model: std::mem::take(&mut self.model),
                usage: self.usage,
                truncated: finish == Finish::Truncated,
            });
        }
        Err(if self.refusal {
            Failure::new(Code::ContentRefused, "the model refused to answer")
        } else if finish == Finish::Truncated {
            Failure::new(Code::EmptyAnswer, "the model reached its length limit before it said anything")
        } else {
            Failure::new(Code::EmptyAnswer, "the model said nothing")
        })
    }

    fn broken_off(&self, error: ErrorBody) -> Failure {
        of_error_body(None, &http::HeaderMap::new(), error, &self.key)
    }

    /// Reads the reply's end if it is at hand: a reply that was not read to its end costs its connection.
    async fn close(&mut self) {
        if let Some(mut response) = self.response.take() {
            let end = async { while let Ok(Some(_)) = response.chunk().await {} };
            drop(timeout(CLOSING, end).await);
        }
    }
}

/// Text as a string, or as parts with a `text` each.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn stream_cut() -> Failure {
    Failure::new(Code::StreamCut, "the provider's answer ended before it was whole")
}

fn too_large() -> Failure {
    garbled(&format!("it held more than {} MiB", MAX_FRAME / 1024 / 1024))
}
