//! Any provider that speaks `OpenAI`'s HTTP interface: one adapter that answers, one that embeds.
//!
//! What goes over the wire is async-openai's: the requests' types, the client, its seam for a tower
//! stack. What comes back is read by us, because providers that are only *compatible* leave fields out
//! and add words of their own, and because every way in which a reply can be wrong must end in a
//! [`Code`](crate::domain::failure::Code):
//!
//! | file | owns |
//! |---|---|
//! | `endpoint` | where the provider is and what authorises us |
//! | `stack` | the order of what happens around a call; nothing in it retries |
//! | `classify` | what a status, a body, a transport error means |
//! | `error_body` | the shapes in which providers describe an error |
//! | `retry_after`, `rate_headers` | the forms in which they ask us to wait, and say what they allow |
//! | `wording` | messages without secrets or pages of text |
//! | `echo` | messages without what was sent |
//! | `frames` | server-sent events out of bytes |
//! | `reading` | an answer out of those events |
//! | `dialect` | which of the optional fields this provider takes |
//! | `chat`, `embed` | the two ports |

mod chat;
mod classify;
mod dialect;
mod echo;
mod embed;
mod endpoint;
mod error_body;
mod frames;
mod rate_headers;
mod reading;
mod retry_after;
mod stack;
mod wording;

pub use chat::OpenAiModel;
pub use embed::OpenAiEmbedder;

/// A setting with which no provider can be called.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base address is none.
    #[error("model.base_url (OPENAI_BASE_URL) {0}")]
    BaseUrl(&'static str),
    /// The key can't stand in a header.
    #[error("model.api_key (OPENAI_API_KEY) holds characters that can't be sent in a header")]
    ApiKey,
    /// An embedder was asked for without a model.
    #[error("embedding.model (RAGQ_EMBEDDING__MODEL) is not set")]
    EmbeddingModel,
    /// The HTTP client could not be built.
    #[error("the HTTP client for the model provider could not be set up")]
    Http(#[source] reqwest::Error),
}
