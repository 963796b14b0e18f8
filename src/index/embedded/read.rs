//! Reading the embedded index's file: passages, chunks, text, and what the search structures are built from.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::{
    domain::{
        answer::Passage,
        document::Chunk,
        failure::{Code, Failure},
        ids::{Collection, DocumentId, Tenant},
    },
    text::analysis::{self, Analyzer},
};

use super::{
    dense::{self, Dense},
    forward::{Encoder, Part},
    lexical::Lexical,
    roster::ChunkKey,
    store::{self, PIECE, Row, STEP, failed, rows},
};

/// Every shelf: number, tenant, collection.
pub(super) fn shelves(connection: &Connection) -> Result<Vec<(i64, Tenant, Collection)>, Failure> {
    let read = || -> rusqlite::Result<Vec<_>> {
        let mut select = connection.prepare("SELECT shelf, tenant, collection FROM shelves")?;
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.into(), row.get::<_, String>(2)?.into())))?;
        rows.collect()
    };
    read().map_err(failed)
}

/// A version of a document by its names: its number and its text's length in bytes.
fn find(
    tx: &Transaction<'_>,
    tenant: &Tenant,
    id: &DocumentId,
    version: u64,
) -> rusqlite::Result<Option<(i64, usize)>> {
    let select = "SELECT document, text_bytes FROM documents \
                  WHERE tenant = ?1 AND id = ?2 AND version = ?3 AND state = 1";
    tx.prepare_cached(select)?
        .query_row(params![tenant.as_str(), id.as_str(), version as i64], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as usize))
        })
        .optional()
}

/// The normalised text of a version.
pub(super) fn text(
    reader: &mut Connection,
    tenant: &Tenant,
    id: &DocumentId,
    version: u64,
) -> Result<Option<String>, Failure> {
    let tx = reader.transaction().map_err(failed)?;
    match find(&tx, tenant, id, version).map_err(failed)? {
        Some((document, length)) => slice(&tx, document, 0, length).map(Some),
        None => Ok(None),
    }
}

/// Chunks of a version from number `from` on.
pub(super) fn chunks(
    reader: &mut Connection,
    tenant: &Tenant,
    id: &DocumentId,
    version: u64,
    from: u32,
    limit: usize,
) -> Result<Vec<Chunk>, Failure> {
    let tx = reader.transaction().map_err(failed)?;
    match find(&tx, tenant, id, version).map_err(failed)? {
        Some((document, _)) => some_chunks(&tx, document, from, limit),
        None => Ok(Vec::new()),
    }
}

fn some_chunks(tx: &Transaction<'_>, document: i64, from: u32, limit: usize) -> Result<Vec<Chunk>, Failure> {
    let (first, last) = rows(document);
    let select = "SELECT chunk, text_start, text_end, headings FROM chunks WHERE chunk BETWEEN ?1 AND ?2 \
                  ORDER BY chunk LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut chunks: Vec<Chunk> = tx
        .prepare_cached(select)
        .and_then(|mut select| {
            let from = (first + i64::from(from)).min(last);
            let rows = select.query_map(params![from, last, limit], |row| {
                Ok(Chunk {
                    ordinal: (row.get::<_, i64>(0)? - first) as u32,
                    start: row.get::<_, i64>(1)? as usize,
                    end: row.get::<_, i64>(2)? as usize,
                    headings: headings(row.get(3)?),
                    text: String::new(),
                })
            })?;
            rows.collect()
        })
        .map_err(failed)?;
    // Neighbouring chunks share pieces: read what they cover together once.
    let start = chunks.iter().map(|chunk| chunk.start).min().unwrap_or(0);
    let end = chunks.iter().map(|chunk| chunk.end).max().unwrap_or(0);
    let text = slice(tx, document, start, end)?;
    for chunk in &mut chunks {
        text.get(chunk.start - start..chunk.end - start).ok_or_else(damaged)?.clone_into(&mut chunk.text);
    }
    Ok(chunks)
}

fn headings(stored: Option<String>) -> Vec<String> {
    stored.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

/// The document's text from byte `start` to `end`.
fn slice(tx: &Transaction<'_>, document: i64, start: usize, end: usize) -> Result<String, Failure> {
    if start >= end {
        return Ok(String::new());
    }
    let (first, _) = rows(document);
    let (from, to) = (start / PIECE, (end - 1) / PIECE);
    // Only what is wanted is copied: a chunk is a small part of a piece.
    let mut bytes = Vec::with_capacity(end - start);
    let mut read = || {
        let mut select = tx.prepare_cached("SELECT bytes FROM texts WHERE piece BETWEEN ?1 AND ?2 ORDER BY piece")?;
        let mut rows = select.query([first + from as i64, first + to as i64])?;
        let mut begins = from * PIECE;
        while let Some(row) = rows.next()? {
            let piece = row.get_ref(0)?.as_blob()?;
            let within = |at: usize| at.saturating_sub(begins).min(piece.len());
            bytes.extend_from_slice(&piece[within(start)..within(end)]);
            begins += PIECE;
        }
        Ok(())
    };
    read().map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    if text.len() == end - start { Ok(text) } else { Err(damaged()) }
}

fn damaged() -> Failure {
    Failure::new(Code::IndexUnavailable, "the index file is damaged")
}

/// The passages behind scored chunks, without those that were removed meanwhile.
pub(super) fn passages(reader: &mut Connection, found: &[(ChunkKey, f32)]) -> Result<Vec<Passage>, Failure> {
    let tx = reader.transaction().map_err(failed)?;
    let select = "SELECT id, version, title, source, collection FROM documents JOIN shelves USING (shelf) \
                  WHERE document = ?1 AND state = 1";
    let mut passages = Vec::with_capacity(found.len());
    for (key, score) in found {
        let about = tx
            .prepare_cached(select)
            .and_then(|mut select| {
                let about = select.query_row([key.document], |row| {
                    let (id, collection): (String, String) = (row.get(0)?, row.get(4)?);
                    Ok((id, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?, collection))
                });
                about.optional()
            })
            .map_err(failed)?;
        let Some((id, version, title, source, collection)) = about else { continue };
        let Some(chunk) = some_chunks(&tx, key.document, key.ordinal, 1)?.pop() else { continue };
        passages.push(Passage {
            document_id: id.into(),
            version: version as u64,
            title,
            source,
            collection: collection.into(),
            chunk: chunk.ordinal,
            headings: chunk.headings,
            start: chunk.start,
            end: chunk.end,
            text: chunk.text,
            score: *score,
        });
    }
    Ok(passages)
}

/// Whether a document version is still to be seen.
pub(super) fn is_seen(reader: &Connection, document: i64) -> Result<bool, Failure> {
    let select = "SELECT 1 FROM documents WHERE document = ?1 AND state = 1";
    reader.prepare_cached(select).and_then(|mut select| select.exists([document])).map_err(failed)
}

/// The exact cosines of these chunks with the question's unit vector; a chunk that is gone is left out.
pub(super) fn cosines(
    reader: &Connection,
    question: &[f32],
    chunks: &[ChunkKey],
) -> Result<Vec<(ChunkKey, f32)>, Failure> {
    let read = || {
        let mut select = reader.prepare_cached("SELECT vector FROM chunks WHERE chunk = ?1")?;
        let mut exact = Vec::with_capacity(chunks.len());
        for key in chunks {
            let mut found = select.query([rows(key.document).0 + i64::from(key.ordinal)])?;
            if let Some(row) = found.next()?
                && let Some(stored) = row.get_ref(0)?.as_blob_or_null()?
            {
                exact.push((*key, dense::stored_cosine(question, stored)));
            }
        }
        Ok(exact)
    };
    read().map_err(failed)
}

/// The stored terms of a document; analysed anew if they are of another analysis.
fn terms(tx: &Transaction<'_>, row: &Row) -> Result<Vec<Vec<u8>>, Failure> {
    let (first, last) = rows(row.document);
    let read = || -> rusqlite::Result<(u32, String, i64, Vec<Vec<u8>>)> {
        let mut select = tx.prepare_cached("SELECT analysis, title, chunks FROM documents WHERE document = ?1")?;
        let (analysis, title, chunks) =
            select.query_row([row.document], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut select = tx.prepare_cached("SELECT bytes FROM terms WHERE part BETWEEN ?1 AND ?2 ORDER BY part")?;
        let parts = select.query_map([first, last], |row| row.get(0))?;
        Ok((analysis, title, chunks, parts.collect::<rusqlite::Result<_>>()?))
    };
    let (revision, title, chunks, parts) = read().map_err(failed)?;
    if revision == analysis::REVISION {
        return Ok(parts);
    }
    let mut encoder = Encoder::new(Analyzer::for_language(row.language), &title);
    (0..chunks as usize)
        .step_by(STEP)
        .map(|from| Ok(encoder.encode(&some_chunks(tx, row.document, from as u32, STEP)?)))
        .collect()
}

/// The stored terms of a document that is perhaps no longer seen but not yet erased.
pub(super) fn terms_of(reader: &mut Connection, row: &Row) -> Result<Vec<Vec<u8>>, Failure> {
    terms(&reader.transaction().map_err(failed)?, row)
}

/// Builds the inverted lists of a shelf.
pub(super) fn load_lexical(reader: &mut Connection, shelf: i64) -> Result<Lexical, Failure> {
    let tx = reader.transaction().map_err(failed)?;
    let mut lexical = Lexical::default();
    for row in on_shelf(&tx, shelf, "state = 1").map_err(failed)? {
        let stored = terms(&tx, &row)?;
        let parts: Vec<Part<'_>> =
            stored.iter().map(|bytes| Part::decode(bytes)).collect::<Option<_>>().ok_or_else(damaged)?;
        lexical.add(row.document, parts.iter().map(|part| part.lengths.len() as u32).sum());
        for part in &parts {
            lexical.fill(row.language, part).ok_or_else(damaged)?;
        }
        lexical.reveal();
    }
    lexical.shrink();
    Ok(lexical)
}

/// Builds the vectors of a shelf.
pub(super) fn load_dense(reader: &mut Connection, shelf: i64) -> Result<Dense, Failure> {
    let tx = reader.transaction().map_err(failed)?;
    let dimensions = store::embedding(&tx)?.map_or(0, |(_, dimensions)| dimensions);
    let mut dense = Dense::new(dimensions);
    for row in on_shelf(&tx, shelf, "state = 1 AND model IS NOT NULL").map_err(failed)? {
        let (first, last) = rows(row.document);
        let read = || -> rusqlite::Result<Vec<Vec<f32>>> {
            let mut select =
                tx.prepare_cached("SELECT vector FROM chunks WHERE chunk BETWEEN ?1 AND ?2 ORDER BY chunk")?;
            let vectors = select.query_map([first, last], |row| {
                Ok(row.get_ref(0)?.as_blob_or_null()?.map(dense::from_stored).unwrap_or_default())
            })?;
            vectors.collect()
        };
        dense.add(row.document, read().map_err(failed)?.into_iter());
    }
    Ok(dense)
}

fn on_shelf(tx: &Transaction<'_>, shelf: i64, which: &str) -> rusqlite::Result<Vec<Row>> {
    let select =
        format!("SELECT document, shelf, language FROM documents WHERE shelf = ?1 AND {which} ORDER BY document");
    let mut select = tx.prepare_cached(&select)?;
    let rows = select.query_map([shelf], store::row)?;
    rows.collect()
}
