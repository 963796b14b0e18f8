//! The passage index as a port: keeps documents' chunks and finds those that fit a question.
//!
//! Adapters: [`embedded`], [`qdrant`]. An index may hold several versions of a document at a time; which one is seen
//! is the registry's business ([`crate::queue::Documents::visible`]), and searchers drop the others.

use async_trait::async_trait;

use crate::domain::{
    answer::{Passage, RetrievalMode},
    document::Chunk,
    failure::Failure,
    ids::{Collection, DocumentId, Tenant},
};

mod draft;
pub mod embedded;
pub mod fusion;
pub mod qdrant;
mod question;
mod words;

/// One version of one document, ready to be indexed.
#[derive(Clone, Debug)]
pub struct IndexedDocument {
    /// Whose.
    pub tenant: Tenant,
    /// Where it can be found.
    pub collection: Collection,
    /// Which document.
    pub document_id: DocumentId,
    /// Which version.
    pub version: u64,
    /// The title.
    pub title: String,
    /// Where it came from.
    pub source: Option<String>,
    /// The normalised text that the chunks' spans point into.
    pub text: String,
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
    /// One vector per chunk, in the same order; empty without an embedding model.
    pub vectors: Vec<Vec<f32>>,
    /// The embedding model the vectors are of.
    pub embedding_model: Option<String>,
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// Whose documents.
    pub tenant: Tenant,
    /// Only in this collection.
    pub collection: Option<Collection>,
    /// The question's words.
    pub text: String,
    /// The question's vector: searches hybrid if given, lexical if not.
    pub vector: Option<QuestionVector>,
    /// How many passages at most.
    pub limit: usize,
}

/// A question as a vector.
#[derive(Clone, Debug)]
pub struct QuestionVector {
    /// The embedding model it is of: a search refuses to compare it with vectors of another.
    pub model: String,
    /// Its numbers.
    pub values: Vec<f32>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Best first, any versions.
    pub passages: Vec<Passage>,
    /// How it was searched: hybrid falls back to lexical where no vectors are stored.
    pub mode: RetrievalMode,
}

/// Keeps chunks and finds passages.
#[async_trait]
pub trait PassageIndex: Send + Sync {
    /// Stores one version of a document beside what is there of it; doing it twice is as doing it once.
    async fn put(&self, document: IndexedDocument) -> Result<(), Failure>;

    /// Removes every version of the document but `keep` (all, if none).
    async fn remove_versions(&self, tenant: &Tenant, id: &DocumentId, keep: Option<u64>) -> Result<(), Failure>;

    /// Finds passages.
    async fn search(&self, query: SearchQuery) -> Result<Found, Failure>;

    /// The normalised text of a version.
    async fn text(&self, tenant: &Tenant, id: &DocumentId, version: u64) -> Result<Option<String>, Failure>;

    /// Chunks of a version in order, from number `from`, at most `limit`.
    async fn chunks(
        &self,
        tenant: &Tenant,
        id: &DocumentId,
        version: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Chunk>, Failure>;

    /// The revision of the analysis that stored documents stay with until they are put again; none if the index
    /// analyses them anew by itself.
    fn analysis(&self) -> Option<u32>;

    /// Whether the index answers.
    async fn ping(&self) -> Result<(), Failure>;
}
