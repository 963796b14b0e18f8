//! The passage index in Qdrant: for deployments of several processes.
//!
//! One collection holds every tenant's documents, whole: chunks with their vectors, and the normalised text. A
//! search is one query, fused on the server. Words become sparse vectors here, by the same analysis as in the
//! embedded index, so that both find the same. Qdrant may be down at any time, also at the start: calls fail
//! until it is back, and the jobs they belong to are tried again.
//!
//! Which version of a document is seen is not decided here.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use qdrant_client::Qdrant;

use crate::{
    config::{secret::Secret, settings},
    domain::{
        document::Chunk,
        failure::Failure,
        ids::{DocumentId, Tenant},
    },
    text::analysis,
};

use self::{
    collection::Collection,
    connection::{Connection, Kind},
    point::Name,
};
use super::{Found, IndexedDocument, PassageIndex, SearchQuery};

mod collection;
mod connection;
mod draft;
mod error;
mod point;
mod read;
mod search;
mod sparse;
mod write;

/// Where Qdrant is and how long it may take.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the gRPC port; `https` for TLS.
    pub url: String,
    /// The API key to send.
    pub api_key: Option<Secret>,
    /// The collection to keep everything in.
    pub collection: String,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest look-up, a search among them, its retries included.
    pub read_timeout: Duration,
    /// Longest single write, its retries included.
    pub write_timeout: Duration,
}

impl Options {
    /// The defaults, for a Qdrant at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self::with(url.into(), &settings::Index::default())
    }

    /// As the settings have it; none without an address.
    pub fn from_settings(index: &settings::Index) -> Option<Self> {
        index.qdrant_url.clone().map(|url| Self::with(url, index))
    }

    fn with(url: String, index: &settings::Index) -> Self {
        Self {
            url,
            api_key: index.qdrant_api_key.clone(),
            collection: index.qdrant_collection.clone(),
            connect_timeout: Duration::from_millis(index.qdrant_connect_timeout_ms),
            read_timeout: Duration::from_millis(index.qdrant_read_timeout_ms),
            write_timeout: Duration::from_millis(index.qdrant_write_timeout_ms),
        }
    }
}

/// The passage index in a collection of Qdrant.
#[derive(Clone)]
pub struct QdrantIndex {
    connection: Arc<Connection>,
    collection: Arc<Collection>,
}

impl QdrantIndex {
    /// Prepares the index; fails on options that can't be right, not if Qdrant is down: it is reached, and the
    /// collection made, when first needed.
    pub fn connect(options: Options) -> Result<Self, Failure> {
        let connection = Arc::new(Connection::new(options)?);
        Ok(Self { collection: Arc::new(Collection::new(Arc::clone(&connection))), connection })
    }

    /// After a failure the collection may be another than before.
    fn settled<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|_| self.collection.forget())
    }
}

#[async_trait]
impl PassageIndex for QdrantIndex {
    async fn put(&self, document: IndexedDocument) -> Result<(), Failure> {
        self.settled(self.write(document).await)
    }

    async fn remove_versions(&self, tenant: &Tenant, id: &DocumentId, keep: Option<u64>) -> Result<(), Failure> {
        self.settled(self.remove(tenant, id, keep).await)
    }

    async fn search(&self, query: SearchQuery) -> Result<Found, Failure> {
        self.settled(self.find(&query).await)
    }

    async fn text(&self, tenant: &Tenant, id: &DocumentId, version: u64) -> Result<Option<String>, Failure> {
        self.settled(self.read_text(Name { tenant, id, version }).await)
    }

    async fn chunks(
        &self,
        tenant: &Tenant,
        id: &DocumentId,
        version: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Chunk>, Failure> {
        self.settled(self.read_chunks(Name { tenant, id, version }, from, limit).await)
    }

    /// The words of a chunk are a vector in Qdrant.
    fn analysis(&self) -> Option<u32> {
        Some(analysis::REVISION)
    }

    /// Asks for the collection, not for the server's health: that is answered without a key.
    async fn ping(&self) -> Result<(), Failure> {
        let ask = |client: Qdrant, name| async move { client.collection_exists(name).await };
        self.connection.call(Kind::Read, &self.connection.collection(), ask).await.map(|_| ())
    }
}
