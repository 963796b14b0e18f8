//! The models as ports: one that answers, one that embeds.
//!
//! Adapters: [`openai`] (any OpenAI-compatible provider) and [`extractive`] (no provider at all). [`fallback`] makes one
//! of several.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::time::Instant;

use crate::domain::{
    answer::{Passage, Usage},
    failure::Failure,
    spent::Spent,
};

pub mod extractive;
pub mod fallback;
pub mod openai;

/// Who says a message of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// ragq's instructions.
    System,
    /// The person who asks.
    User,
    /// The model, earlier.
    Assistant,
}

impl Role {
    /// The word for it in traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What.
    pub content: Cow<'static, str>,
}

/// A question with all that is needed to answer it.
#[derive(Clone, Debug)]
pub struct AnswerRequest {
    /// The question as asked.
    pub question: String,
    /// The passages it is to be answered from; the n-th, from 1, is cited as `[n]`. Never empty.
    pub passages: Arc<[Passage]>,
    /// The grounded prompt, for models that take one; its last message is made of the question and the passages.
    pub messages: Vec<Message>,
    /// What the job allows the call.
    pub bounds: Bounds,
}

/// What a job allows a call.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// When the job is given up, if it has a deadline.
    pub deadline: Option<Instant>,
    /// How long the call may wait for its turn at the provider before the job is put off instead.
    pub patience: Duration,
    /// Where it is counted what the call costs.
    pub spent: Spent,
}

/// A piece of an answer as it is made.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerPart {
    /// The text goes on.
    Delta(String),
    /// The answer is whole; nothing follows.
    Done {
        /// Who answered, as configured.
        provider: String,
        /// The model that answered, as the provider names it.
        model: String,
        /// What it cost; zeros if the provider did not say.
        usage: Usage,
        /// Whether the provider stopped at its length limit.
        truncated: bool,
    },
}

/// An answer as it is made: deltas, then one `Done`, or a failure which ends it. Dropping it closes the
/// connection to the provider.
pub type AnswerStream = BoxStream<'static, Result<AnswerPart, Failure>>;

/// Answers questions.
#[async_trait]
pub trait AnswerModel: Send + Sync {
    /// The model's name as configured.
    fn name(&self) -> &str;

    /// Begins to answer. One call is one call to the provider: nothing in it retries.
    async fn answer(&self, request: AnswerRequest) -> Result<AnswerStream, Failure>;
}

/// Turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// The model's name: vectors of different models are never compared.
    fn model(&self) -> &str;

    /// One vector per text, in order, all of the same length.
    async fn embed(&self, texts: &[String], bounds: &Bounds) -> Result<Vec<Vec<f32>>, Failure>;
}
