//! Replies of the scripted provider, as steps on a socket.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, Gate};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The head of a stream, with the reply's own headers.
    Head,
    Write(Vec<u8>),
    Pause(Duration),
    Wait(Gate),
    /// Until the caller goes away.
    Stall,
    Reset,
    /// Close the connection.
    Close,
}

/// How a streamed text ends, or breaks.
#[derive(Clone, Debug)]
enum Ending {
    Whole,
    Steps(Vec<Step>),
}

#[derive(Clone, Debug)]
enum Kind {
    Text { text: String },
    Vectors { dimensions: usize },
    Plain { status: u16, body: Vec<u8> },
    Steps(Vec<Step>),
}

/// One reply of the script.
#[derive(Clone, Debug)]
pub struct Reply {
    kind: Kind,
    headers: Vec<(String, String)>,
    pub(super) embeds: bool,
    pub(super) forever: bool,
    before: Vec<Step>,
    held: Option<Gate>,
    pieces: usize,
    delay: Duration,
    after: Option<usize>,
    ending: Ending,
    model: String,
    usage: Option<(u64, u64)>,
    finish_reason: Option<String>,
    done: bool,
}

impl Reply {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            headers: Vec::new(),
            embeds: false,
            forever: false,
            before: Vec::new(),
            held: None,
            pieces: 3,
            delay: Duration::ZERO,
            after: None,
            ending: Ending::Whole,
            model: "scripted-1".into(),
            usage: Some((11, 7)),
            finish_reason: Some("stop".into()),
            done: true,
        }
    }

    /// A streamed answer, in three deltas unless [`pieces`](Self::pieces) says otherwise.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Kind::Text { text: text.into() })
    }

    /// An answer in one JSON body, though a stream was asked for.
    pub fn unstreamed(text: &str) -> Self {
        let body = json!({"model": "scripted-1", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}});
        Self::status(200).json(&body)
    }

    /// Deterministic vectors for whatever texts come, by [`vector_of`].
    pub fn embeddings(dimensions: usize) -> Self {
        Self::of(Kind::Vectors { dimensions }).for_embeddings()
    }

    /// A reply of this status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Plain { status, body: Vec::new() })
    }

    /// An error as `OpenAI` words it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(status).json(&json!({"error": {"message": message, "type": null, "param": null, "code": code}}))
    }

    /// A stream of exactly these bytes, each piece written by itself, ending properly.
    pub fn stream_of<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let mut steps = vec![Step::Head];
        for piece in pieces {
            steps.push(Step::Write(chunk(piece.as_ref())));
            // Lets the piece travel by itself.
            steps.push(Step::Pause(Duration::from_millis(2)));
        }
        steps.push(Step::Write(LAST_CHUNK.to_vec()));
        Self::of(Kind::Steps(steps))
    }

    /// These bytes in place of HTTP, then the connection's end.
    pub fn garbage(bytes: &[u8]) -> Self {
        Self::of(Kind::Steps(vec![Step::Write(bytes.to_vec()), Step::Close]))
    }

    /// A page of a proxy with status 200.
    pub fn html() -> Self {
        Self::status(200)
            .header("content-type", "text/html; charset=utf-8")
            .body("<!DOCTYPE html><html><p>Sign in</p></html>")
    }

    /// No reply until the caller goes away.
    pub fn stall() -> Self {
        Self::of(Kind::Steps(vec![Step::Stall]))
    }

    /// Headers of a stream, and no event until the caller goes away.
    pub fn stall_after_headers() -> Self {
        Self::of(Kind::Steps(vec![Step::Head, Step::Stall]))
    }

    /// A TCP reset in place of a reply.
    pub fn reset() -> Self {
        Self::of(Kind::Steps(vec![Step::Reset]))
    }

    /// The connection's end in place of a reply.
    pub fn hang_up() -> Self {
        Self::of(Kind::Steps(vec![Step::Close]))
    }

    /// The reply to every call that the script has no other for.
    pub fn default_forever(reply: Self) -> Self {
        Self { forever: true, ..reply }
    }

    /// Of the embeddings' script rather than of the chat completions'.
    pub fn for_embeddings(mut self) -> Self {
        self.embeds = true;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body of a [`status`](Self::status) reply.
    pub fn body(mut self, text: impl AsRef<[u8]>) -> Self {
        if let Kind::Plain { body, .. } = &mut self.kind {
            *body = text.as_ref().to_vec();
        }
        self
    }

    /// The JSON body of a [`status`](Self::status) reply.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// In so many deltas.
    pub fn pieces(mut self, pieces: usize) -> Self {
        self.pieces = pieces.max(1);
        self
    }

    /// With so long between two deltas.
    pub fn drip(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// With so long before anything is sent.
    pub fn wait(mut self, delay: Duration) -> Self {
        self.before.push(Step::Pause(delay));
        self
    }

    /// Nothing is sent before the gate is opened.
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.before.push(Step::Wait(gate.clone()));
        self
    }

    /// The first delta is sent, the rest when the gate is opened.
    pub fn held_after_first_by(mut self, gate: &Gate) -> Self {
        self.held = Some(gate.clone());
        self
    }

    pub fn model(mut self, model: &str) -> Self {
        self.model = model.into();
        self
    }

    pub fn usage(mut self, prompt_tokens: u64, completion_tokens: u64) -> Self {
        self.usage = Some((prompt_tokens, completion_tokens));
        self
    }

    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    pub fn finish_reason(mut self, reason: &str) -> Self {
        self.finish_reason = Some(reason.into());
        self
    }

    pub fn without_finish_reason(mut self) -> Self {
        self.finish_reason = None;
        self
    }

    pub fn without_done(mut self) -> Self {
        self.done = false;
        self
    }

    /// Silent after so many deltas, until the caller goes away.
    pub fn stall_after(self, deltas: usize) -> Self {
        self.broken_after(deltas, vec![Step::Stall])
    }

    /// The connection's end after so many deltas, in the middle of the body.
    pub fn cut_after(self, deltas: usize) -> Self {
        self.broken_after(deltas, vec![Step::Close])
    }

    /// The body's proper end after so many deltas, but not the answer's.
    pub fn ended_after(self, deltas: usize) -> Self {
        self.broken_after(deltas, vec![Step::Write(LAST_CHUNK.to_vec())])
    }

    /// A TCP reset after so many deltas.
    pub fn reset_after(self, deltas: usize) -> Self {
        self.broken_after(deltas, vec![Step::Reset])
    }

    /// These bytes in the body after so many deltas, then its proper end.
    pub fn garbage_after(self, deltas: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.broken_after(deltas, vec![Step::Write(chunk(bytes.as_ref())), Step::Write(LAST_CHUNK.to_vec())])
    }

    /// An event with this JSON after so many deltas, then the body's proper end.
    pub fn event_after(self, deltas: usize, event: &Value) -> Self {
        self.garbage_after(deltas, format!("data: {event}\n\n"))
    }

    fn broken_after(mut self, deltas: usize, steps: Vec<Step>) -> Self {
        self.after = Some(deltas);
        self.ending = Ending::Steps(steps);
        self
    }

    pub(super) fn steps(&self, call: &Call) -> Vec<Step> {
        let mut steps = self.before.clone();
        match &self.kind {
            Kind::Steps(own) => steps.extend(own.iter().cloned()),
            Kind::Plain { status, body } => steps.push(Step::Write(plain(*status, &self.headers, body))),
            Kind::Vectors { dimensions } => {
                let body = vectors(call, *dimensions).to_string();
                let headers = [("content-type".to_owned(), "application/json".to_owned())];
                steps.push(Step::Write(plain(200, &headers, body.as_bytes())));
            }
            Kind::Text { text } => self.text_steps(text, &mut steps),
        }
        for step in &mut steps {
            if matches!(step, Step::Head) {
                *step = Step::Write(stream_head(&self.headers));
            }
        }
        steps
    }

    fn text_steps(&self, text: &str, steps: &mut Vec<Step>) {
        let event = |delta: Value, finish: Value| {
            json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
        };
        let write = |event: &Value| Step::Write(chunk(format!("data: {event}\n\n").as_bytes()));
        steps.push(Step::Head);
        steps.push(write(&event(json!({"role": "assistant", "content": ""}), Value::Null)));
        for (n, piece) in pieces_of(text, self.pieces).into_iter().enumerate() {
            if self.after == Some(n) {
                break;
            }
            if n == 1 {
                steps.extend(self.held.clone().map(Step::Wait));
            }
            if n > 0 && !self.delay.is_zero() {
                steps.push(Step::Pause(self.delay));
            }
            steps.push(write(&event(json!({"content": piece}), Value::Null)));
        }
        if let Ending::Steps(ending) = &self.ending {
            steps.extend(ending.iter().cloned());
            return;
        }
        if let Some(reason) = &self.finish_reason {
            steps.push(write(&event(json!({}), json!(reason))));
        }
        if let Some((prompt, completion)) = self.usage {
            steps.push(write(&json!({"id": "chatcmpl-1", "model": self.model, "choices": [],
                "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}})));
        }
        let mut end = if self.done { chunk(b"data: [DONE]\n\n") } else { Vec::new() };
        end.extend_from_slice(LAST_CHUNK);
        steps.push(Step::Write(end));
    }
}

/// A vector in which texts with the same words lie near each other: each word counts in one dimension.
pub fn vector_of(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        vector[(hash % dimensions as u64) as usize] += 1.0;
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length == 0.0 {
        vector[0] = 1.0;
        return vector;
    }
    vector.iter().map(|x| x / length).collect()
}

fn vectors(call: &Call, dimensions: usize) -> Value {
    let texts: Vec<&str> = match &call.body["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        other => panic!("no texts to embed: {other}"),
    };
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector_of(text, dimensions)}))
        .collect();
    json!({"object": "list", "model": call.body["model"], "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
}

fn pieces_of(text: &str, pieces: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(pieces).max(1);
    chars.chunks(size).map(|piece| piece.iter().collect()).collect()
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn stream_head(headers: &[(String, String)]) -> Vec<u8> {
    let mut head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
    if !headers.iter().any(|(name, _)| name == "content-type") {
        head.push_str("content-type: text/event-stream\r\n");
    }
    with_headers(head, headers)
}

fn plain(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
    [with_headers(head, headers).as_slice(), body].concat()
}

fn with_headers(mut head: String, headers: &[(String, String)]) -> Vec<u8> {
    for (name, value) in headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}
