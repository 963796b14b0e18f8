//! What a question leads to: passages, citations, an answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{Collection, DocumentId};

/// A piece of a document that retrieval found, as it is shown to the model and kept with the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The document.
    pub document_id: DocumentId,
    /// The document's version the text is of.
    pub version: u64,
    /// The document's title.
    pub title: String,
    /// Where the document came from (a path, a URL), if it was said.
    pub source: Option<String>,
    /// The collection it was found in.
    pub collection: Collection,
    /// The chunk's number within its document, from 0.
    pub chunk: u32,
    /// The headings above the chunk, outermost first.
    #[serde(default)]
    pub headings: Vec<String>,
    /// Where the text begins in the document's normalised text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// The text itself: the document's normalised text from `start` to `end`.
    pub text: String,
    /// How well it fits, higher is better; comparable within one search only.
    pub score: f32,
}

/// How a search was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetrievalMode {
    /// By words (BM25).
    Lexical,
    /// By vectors.
    Dense,
    /// By both, fused by reciprocal rank.
    Hybrid,
}

impl RetrievalMode {
    /// The word used in results and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Dense => "dense",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What is said about the search in a job's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retrieval {
    /// How the search was done.
    pub mode: RetrievalMode,
    /// Whether a part of the configured retrieval (the embedding) failed and was left out.
    pub degraded: bool,
}

/// The passages a question is answered from; stored with the job before the model is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The passages; the n-th (from 1) is what `[n]` means. Shared by all that hold them while a provider takes its time.
    pub passages: Arc<[Passage]>,
    /// How they were found.
    pub retrieval: Retrieval,
}

/// A stretch of a document's normalised text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Span {
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
}

/// A passage that an answer may cite: `index` is the n of `[n]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// The n of `[n]`, from 1.
    pub index: usize,
    /// The document.
    pub document_id: DocumentId,
    /// The document's title.
    pub title: String,
    /// Where the document came from.
    pub source: Option<String>,
    /// The chunk's number within its document, from 0.
    pub chunk: u32,
    /// Where the text begins in the document's normalised text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// The cited text.
    pub text: String,
    /// The passage's score.
    pub score: f32,
    /// The sentences of the text that the answer draws on, in order; absent while there is no answer, and where that
    /// can't be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub support: Vec<Span>,
}

impl Citation {
    /// The citation of a passage under the number `index`.
    pub fn of(index: usize, passage: &Passage) -> Self {
        Self {
            index,
            document_id: passage.document_id.clone(),
            title: passage.title.clone(),
            source: passage.source.clone(),
            chunk: passage.chunk,
            start: passage.start,
            end: passage.end,
            text: passage.text.clone(),
            score: passage.score,
            support: Vec::new(),
        }
    }
}

/// Tokens as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

/// The result of a `chat` job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The text; each `[n]` in it is the `index` of one of `citations`.
    pub answer: String,
    /// The passages the answer cites.
    pub citations: Vec<Citation>,
    /// Who served the answer, by the name it is configured under; `none` where no model was called.
    #[serde(default)]
    pub provider: String,
    /// The model that answered; `extractive` without a provider.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Whether the provider broke the answer off at its length limit; what there is of it stands.
    #[serde(default)]
    pub truncated: bool,
    /// How the passages were found.
    pub retrieval: Retrieval,
}

/// One earlier question of a conversation with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
}
