//! The embedded passage index: one `SQLite` file, search structures in memory, no server.
//!
//! The file holds what was put: text, spans, vectors, the terms of each document. What searches walk through
//! (inverted lists, vectors of one byte a dimension) is built from it per tenant and collection at the first
//! search and follows every change from then on. For 100,000 chunks of 800 characters that first search costs about
//! 1.2 seconds of CPU, the structures take 57 MiB (lists) and 46 MiB (vectors of 384 dimensions), and a search 1 ms
//! (by words) or 6 ms (hybrid) of CPU; `cargo bench --bench retrieval` measures it. The full-text search of
//! `SQLite` (FTS5 with its `bm25()`) was tried first and took 49 ms a question.
//!
//! This file is the asynchronous side: every call runs on a blocking thread, as many at a time as make sense.
//! One process may open a file at a time. Which version of a document is seen is not decided here.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::domain::{
    document::Chunk,
    failure::{Code, Failure},
    ids::{DocumentId, Tenant},
};

use self::engine::Engine;
use super::{Found, IndexedDocument, PassageIndex, SearchQuery};

mod dense;
mod engine;
mod forward;
mod lexical;
mod read;
mod roster;
mod search;
mod shelf;
mod store;
mod top;

/// The passage index in a file of its own.
#[derive(Clone, Debug)]
pub struct EmbeddedIndex {
    engine: Arc<Engine>,
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    slots: u32,
}

impl EmbeddedIndex {
    /// Opens the index at `path`, makes it if it is not there, and clears what a crash left half done.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let slots = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        Ok(Self {
            engine: Arc::new(Engine::open(path)?),
            reading: Arc::new(Semaphore::new(slots)),
            writing: Arc::new(Semaphore::new(slots)),
            slots: slots as u32,
        })
    }

    /// Waits for what runs, refuses what comes after, and folds the write-ahead log into the file.
    pub async fn close(&self) -> Result<(), Failure> {
        for calls in [&self.writing, &self.reading] {
            // An error says that it was closed before.
            if let Ok(all) = calls.acquire_many(self.slots).await {
                all.forget();
            }
            calls.close();
        }
        let engine = Arc::clone(&self.engine);
        joined(tokio::task::spawn_blocking(move || engine.close()).await)
    }

    async fn run<R: Send + 'static>(
        &self,
        calls: &Arc<Semaphore>,
        call: impl FnOnce(&Engine) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let Ok(slot) = Arc::clone(calls).acquire_owned().await else {
            return Err(Failure::new(Code::IndexUnavailable, "the index is closed"));
        };
        let engine = Arc::clone(&self.engine);
        let call = move || {
            // The slot is taken as long as the thread is, also when the caller no longer waits.
            let _slot = slot;
            call(&engine)
        };
        joined(tokio::task::spawn_blocking(call).await)
    }
}

fn joined<R>(result: Result<Result<R, Failure>, tokio::task::JoinError>) -> Result<R, Failure> {
    result.unwrap_or_else(|error| {
        Err(Failure::new(Code::IndexUnavailable, "the index stopped in the middle of a call").with_source(error))
    })
}

#[async_trait]
impl PassageIndex for EmbeddedIndex {
    async fn put(&self, document: IndexedDocument) -> Result<(), Failure> {
        self.run(&self.writing, move |engine| engine.put(document)).await
    }

    async fn remove_versions(&self, tenant: &Tenant, id: &DocumentId, keep: Option<u64>) -> Result<(), Failure> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.run(&self.writing, move |engine| engine.remove(&tenant, &id, keep)).await
    }

    async fn search(&self, query: SearchQuery) -> Result<Found, Failure> {
        self.run(&self.reading, move |engine| engine.search(&query)).await
    }

    async fn text(&self, tenant: &Tenant, id: &DocumentId, version: u64) -> Result<Option<String>, Failure> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.run(&self.reading, move |engine| {
            engine.read(|reader| read::text(&mut reader.connection, &tenant, &id, version))
        })
        .await
    }

    async fn chunks(
        &self,
        tenant: &Tenant,
        id: &DocumentId,
        version: u64,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Chunk>, Failure> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.run(&self.reading, move |engine| {
            engine.read(|reader| read::chunks(&mut reader.connection, &tenant, &id, version, from, limit))
        })
        .await
    }

    fn analysis(&self) -> Option<u32> {
        None
    }

    async fn ping(&self) -> Result<(), Failure> {
        self.run(&self.reading, |engine| engine.read(|reader| store::ping(&reader.connection))).await
    }
}
