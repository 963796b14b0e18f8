//! Reading back what was put: text and chunks of one version, by the ids of their points.

use qdrant_client::qdrant::{GetPoints, GetPointsBuilder, PointId, RetrievedPoint};

use crate::domain::{document::Chunk, failure::Failure};

use super::{
    QdrantIndex,
    connection::Kind,
    point::{self, Name, Part, Payload},
};

/// Chunks fetched at a time.
const CHUNKS_AT_ONCE: usize = 256;
/// Pieces of text fetched at a time.
const PIECES_AT_ONCE: u32 = 32;

impl QdrantIndex {
    pub(super) async fn read_text(&self, name: Name<'_>) -> Result<Option<String>, Failure> {
        if self.collection.schema().await?.is_none() {
            return Ok(None);
        }
        let mut first = self.parts(name, (0..1).map(Part::Piece)).await?;
        let Some(mut seal) = first.pop() else { return Ok(None) };
        let pieces: u32 = point::number(&seal, point::PIECES)?;
        let mut text = point::text(&mut seal, point::TEXT)?;
        let mut next = 1;
        while next < pieces {
            let end = pieces.min(next + PIECES_AT_ONCE);
            let some = self.parts(name, (next..end).map(Part::Piece)).await?;
            if some.len() < (end - next) as usize {
                // It is being removed just now.
                return Ok(None);
            }
            for mut piece in some {
                text.push_str(&point::text(&mut piece, point::TEXT)?);
            }
            next = end;
        }
        Ok(Some(text))
    }

    pub(super) async fn read_chunks(&self, name: Name<'_>, from: u32, limit: usize) -> Result<Vec<Chunk>, Failure> {
        if self.collection.schema().await?.is_none() {
            return Ok(Vec::new());
        }
        let mut chunks = Vec::new();
        let mut numbers = from..u32::MAX;
        while chunks.len() < limit {
            let page = CHUNKS_AT_ONCE.min(limit - chunks.len());
            let some = self.parts(name, numbers.by_ref().take(page).map(Part::Chunk)).await?;
            let last = some.len() < page;
            for payload in some {
                chunks.push(point::chunk(payload)?);
            }
            if last {
                break;
            }
        }
        Ok(chunks)
    }

    /// The payloads of those of the parts that are there, in the order asked for.
    async fn parts(&self, name: Name<'_>, parts: impl Iterator<Item = Part>) -> Result<Vec<Payload>, Failure> {
        let ids: Vec<PointId> = parts.map(|part| name.point(part)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = GetPointsBuilder::new(self.connection.collection(), ids.clone()).with_payload(true).build();
        let mut found = self.get(request).await?;
        let place = |point: &RetrievedPoint| ids.iter().position(|id| point.id.as_ref() == Some(id));
        found.sort_by_cached_key(place);
        Ok(found.into_iter().map(|point| point.payload).collect())
    }

    pub(super) async fn get(&self, request: GetPoints) -> Result<Vec<RetrievedPoint>, Failure> {
        Ok(self
            .connection
            .call(Kind::Read, &request, |client, request| async move { client.get_points(request).await })
            .await?
            .result)
    }
}
