//! The document registry: which documents there are, which version of each is seen, and what is left of others.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{Page, Result};
use crate::domain::{
    document::{CollectionRecord, DocumentRecord},
    ids::{Collection, DocumentId, Tenant},
};

/// Which documents have chunks of superseded versions left in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Whose.
    pub tenant: Tenant,
    /// Which document.
    pub document_id: DocumentId,
    /// The version to keep; none: all of it may go.
    pub keep: Option<u64>,
    /// The registry's state this was read at, given back to `swept`.
    pub applied_version: u64,
}

/// The document registry: which documents there are, and which version of each is seen.
#[async_trait]
pub trait Documents: Send + Sync {
    /// One document; deleted ones are not there.
    async fn document(&self, tenant: &Tenant, id: &DocumentId) -> Result<Option<DocumentRecord>>;

    /// Documents by id, from after `cursor`.
    async fn documents(
        &self,
        tenant: &Tenant,
        collection: Option<&Collection>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>>;

    /// All collections that hold documents, by name.
    async fn collections(&self, tenant: &Tenant) -> Result<Vec<CollectionRecord>>;

    /// Of the given documents those that are seen, each with its collection and the version that is seen.
    async fn visible(&self, tenant: &Tenant, ids: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>>;

    /// Documents whose superseded chunks are to be removed from the index. A document with an
    /// ingestion under way is not among them. From here until `swept`, a minute at most, the document
    /// counts as being swept.
    async fn leftovers(&self, limit: usize) -> Result<Vec<Leftover>>;

    /// The leftover was removed; void if the registry has moved on since.
    async fn swept(&self, leftover: &Leftover) -> Result<()>;
}
