//! Putting and removing documents.
//!
//! A version is written in this order: chunks and text in batches, then whatever an earlier write of the version
//! left is removed, then the seal. So a sealed version is whole, and a write that fails half-way leaves points
//! that nobody is shown (the registry switches versions afterwards) and that the next try overwrites or removes.

use std::sync::Arc;

use qdrant_client::qdrant::{
    Condition, DeletePointsBuilder, Filter, GetPointsBuilder, PayloadIncludeSelector, PointStruct, UpsertPointsBuilder,
};

use crate::{
    domain::{
        failure::{Code, Failure},
        ids::{DocumentId, Tenant},
    },
    index::IndexedDocument,
};

use super::{
    QdrantIndex,
    connection::Kind,
    draft::{Batches, Draft},
    point::{self, Part},
};

impl QdrantIndex {
    pub(super) async fn write(&self, document: IndexedDocument) -> Result<(), Failure> {
        let draft = Arc::new(blocking(move || Draft::new(document)).await??);
        let dense = self.collection.prepare(draft.embedding()).await?;
        if self.is_sealed(&draft).await? {
            return Ok(());
        }
        let mut batches = Batches::new(Arc::clone(&draft), dense);
        loop {
            let batch;
            (batches, batch) = blocking(move || {
                let batch = batches.next_batch();
                (batches, batch)
            })
            .await?;
            if batch.is_empty() {
                break;
            }
            self.upsert(batch).await?;
        }
        let mut left_over = draft.name().filter();
        left_over.must_not.push(Condition::matches(point::CONTENT, draft.content.clone()));
        self.delete(left_over).await?;
        self.upsert(vec![draft.seal()]).await
    }

    /// Whether exactly this is there already, and whole.
    async fn is_sealed(&self, draft: &Draft) -> Result<bool, Failure> {
        let seal = draft.name().point(Part::Piece(0));
        let content = PayloadIncludeSelector { fields: vec![point::CONTENT.to_owned()] };
        let request = GetPointsBuilder::new(self.connection.collection(), [seal]).with_payload(content).build();
        let found = self.get(request).await?;
        match found.into_iter().next() {
            Some(mut seal) => Ok(point::text(&mut seal.payload, point::CONTENT)? == draft.content),
            None => Ok(false),
        }
    }

    pub(super) async fn remove(&self, tenant: &Tenant, id: &DocumentId, keep: Option<u64>) -> Result<(), Failure> {
        if self.collection.schema().await?.is_none() {
            return Ok(());
        }
        let mut versions = point::every_version(tenant, id);
        if let Some(version) = keep {
            versions.must_not.push(Condition::matches(point::VERSION, version.cast_signed()));
        }
        self.delete(versions).await
    }

    async fn upsert(&self, points: Vec<PointStruct>) -> Result<(), Failure> {
        let request = UpsertPointsBuilder::new(self.connection.collection(), points).wait(true).build();
        self.connection
            .call(Kind::Write, &request, |client, request| async move { client.upsert_points(request).await })
            .await
            .map(|_| ())
    }

    async fn delete(&self, points: Filter) -> Result<(), Failure> {
        let request = DeletePointsBuilder::new(self.connection.collection()).points(points).wait(true).build();
        self.connection
            .call(Kind::Write, &request, |client, request| async move { client.delete_points(request).await })
            .await
            .map(|_| ())
    }
}

/// Does work for the processor away from the threads that wait for the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::new(Code::IndexUnavailable, "the index stopped in the middle of a call").with_source(error)
    })
}
