//! The file behind the embedded index: opening it, writing documents in bounded steps, taking them out again.
//!
//! A document version becomes visible by one update of its row, committed with a sync. What a crash leaves half
//! written or half removed carries another state, is seen by nobody and is cleared at the next opening.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::{
    domain::{
        document::Chunk,
        failure::{Code, Failure},
        ids::{Collection, DocumentId, Tenant},
    },
    index::IndexedDocument,
    text::analysis,
};

use super::dense;

/// Raised when the tables change.
const SCHEMA: i64 = 1;
/// Chunks written or erased in one transaction.
pub(super) const STEP: usize = 256;
/// Bytes of text in one row.
pub(super) const PIECE: usize = 32 * 1024;
/// Rows of one document are numbered from its number times this.
const SPAN: i64 = 1 << 24;
/// The write-ahead log is cut back to this when it can be.
const LOG_BYTES: i64 = 64 * 1024 * 1024;

/// The first and the last row number that belong to a document.
pub(super) fn rows(document: i64) -> (i64, i64) {
    (document * SPAN, document * SPAN + SPAN - 1)
}

/// What `SQLite` said, as a failure of the index.
pub(super) fn failed(error: rusqlite::Error) -> Failure {
    use rusqlite::ErrorCode as Sqlite;
    let what = match error.sqlite_error_code() {
        Some(Sqlite::DiskFull) => "the disk is full",
        Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => "the index file is damaged",
        Some(Sqlite::CannotOpen | Sqlite::PermissionDenied | Sqlite::ReadOnly) => {
            "the index file can't be opened or written"
        }
        Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => "another process is using the index file",
        _ => "the index file could not be read or written",
    };
    Failure::new(Code::IndexUnavailable, what).with_source(error)
}

/// Opens the file for writing, makes it if it is not there, and clears what a crash left.
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    let mut writer = Connection::open(path).map_err(failed)?;
    prepare(&mut writer).map_err(failed)?;
    let version: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if version != SCHEMA {
        let message = format!("the index file has format {version}, this ragq writes {SCHEMA}");
        return Err(Failure::new(Code::IndexUnavailable, message));
    }
    let left = "SELECT document FROM documents WHERE state <> 1";
    let left: Vec<i64> =
        writer.prepare(left).and_then(|mut query| query.query_map([], |row| row.get(0))?.collect()).map_err(failed)?;
    for document in left {
        while erase_some(&mut writer, document)? {}
    }
    Ok(writer)
}

fn prepare(writer: &mut Connection) -> rusqlite::Result<()> {
    writer.busy_timeout(std::time::Duration::from_secs(5))?;
    writer.set_prepared_statement_cache_capacity(64);
    writer.pragma_update(None, "journal_mode", "wal")?;
    writer.pragma_update(None, "synchronous", "full")?;
    writer.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        tx.execute_batch(include_str!("sql/schema.sql"))?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
    }
    tx.commit()
}

/// Opens the file for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags).map_err(failed)?;
    reader.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    reader.set_prepared_statement_cache_capacity(32);
    Ok(reader)
}

/// A document version in the tables, as far as the search structures need to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its number.
    pub(super) document: i64,
    /// The shelf it is on.
    pub(super) shelf: i64,
    /// Its language.
    pub(super) language: &'static str,
}

/// The number of the shelf of a tenant's collection, which is made if it is new.
pub(super) fn shelf(tx: &Transaction<'_>, tenant: &Tenant, collection: &Collection) -> rusqlite::Result<i64> {
    let names = params![tenant.as_str(), collection.as_str()];
    tx.execute("INSERT INTO shelves (tenant, collection) VALUES (?1, ?2) ON CONFLICT DO NOTHING", names)?;
    tx.query_row("SELECT shelf FROM shelves WHERE tenant = ?1 AND collection = ?2", names, |row| row.get(0))
}

/// Answers if the file can be read.
pub(super) fn ping(reader: &Connection) -> Result<(), Failure> {
    reader.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).map_err(failed)
}

/// What is the same for the whole document.
#[derive(Debug)]
pub(super) struct Draft<'d> {
    /// The document.
    pub(super) document: &'d IndexedDocument,
    /// Where it goes.
    pub(super) shelf: i64,
    /// Its language.
    pub(super) language: &'static str,
    /// Hash of everything in it.
    pub(super) digest: [u8; 32],
}

impl Draft<'_> {
    /// The model and dimension of its vectors, if it has any.
    pub(super) fn embedding(&self) -> Option<(&str, usize)> {
        let model = self.document.embedding_model.as_deref()?;
        self.document.vectors.first().map(|vector| (model, vector.len()))
    }

    /// Whether exactly this is there already.
    pub(super) fn is_stored(&self, tx: &Transaction<'_>) -> Result<bool, Failure> {
        let select = "SELECT digest FROM documents WHERE tenant = ?1 AND id = ?2 AND version = ?3 AND state = 1";
        let IndexedDocument { tenant, document_id, version, .. } = self.document;
        let stored: Option<Vec<u8>> = tx
            .query_row(select, params![tenant.as_str(), document_id.as_str(), *version as i64], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        Ok(stored.is_some_and(|digest| digest == self.digest))
    }

    /// Refuses vectors that can't be compared with those in the index.
    pub(super) fn check_embedding(&self, tx: &Transaction<'_>) -> Result<(), Failure> {
        let (Some((model, dimensions)), Some((known, known_dimensions))) = (self.embedding(), embedding(tx)?) else {
            return Ok(());
        };
        if (model, dimensions) == (known.as_str(), known_dimensions) {
            return Ok(());
        }
        Err(Failure::new(
            Code::IndexMismatch,
            format!(
                "the index holds vectors of `{known}` with {known_dimensions} dimensions, the document has vectors of \
                 `{model}` with {dimensions}: use one embedding model, or delete the embedded documents first"
            ),
        ))
    }

    /// Writes the document's row, not to be seen yet.
    pub(super) fn begin(&self, tx: &Transaction<'_>) -> Result<i64, Failure> {
        let insert = "INSERT INTO documents (shelf, tenant, id, version, title, source, language, analysis, digest, \
                      chunks, text_bytes, model, dimensions) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";
        let d = self.document;
        let (model, dimensions) = self.embedding().unzip();
        tx.prepare_cached(insert)
            .and_then(|mut insert| {
                insert.insert(params![
                    self.shelf,
                    d.tenant.as_str(),
                    d.document_id.as_str(),
                    d.version as i64,
                    d.title,
                    d.source,
                    self.language,
                    analysis::REVISION,
                    self.digest,
                    d.chunks.len() as i64,
                    d.text.len() as i64,
                    model,
                    dimensions.map(|dimensions| dimensions as i64),
                ])
            })
            .map_err(failed)
    }

    /// Writes the document's part number `part` (of [`STEP`] chunks) and the pieces of text that fall to it.
    pub(super) fn write_part(
        &self,
        tx: &Transaction<'_>,
        document: i64,
        part: usize,
        terms: &[u8],
    ) -> rusqlite::Result<()> {
        let (first, _) = rows(document);
        tx.prepare_cached("INSERT INTO terms (part, bytes) VALUES (?1, ?2)")?
            .execute(params![first + part as i64, terms])?;
        let mut insert = tx.prepare_cached(
            "INSERT INTO chunks (chunk, text_start, text_end, headings, vector) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (number, chunk) in self.document.chunks.iter().enumerate().skip(part * STEP).take(STEP) {
            let vector = self.document.vectors.get(number).map(|vector| dense::to_stored(vector));
            let headings = headings_to_stored(chunk);
            insert.execute(params![first + number as i64, chunk.start as i64, chunk.end as i64, headings, vector])?;
        }
        let parts = self.parts();
        let pieces = self.document.text.len().div_ceil(PIECE);
        let (from, to) = (pieces * part / parts, pieces * (part + 1) / parts);
        let mut insert = tx.prepare_cached("INSERT INTO texts (piece, bytes) VALUES (?1, ?2)")?;
        for piece in from..to {
            let end = ((piece + 1) * PIECE).min(self.document.text.len());
            insert.execute(params![first + piece as i64, &self.document.text.as_bytes()[piece * PIECE..end]])?;
        }
        Ok(())
    }

    /// In how many parts it is written; a document without chunks has one, for its text.
    pub(super) fn parts(&self) -> usize {
        self.document.chunks.len().div_ceil(STEP).max(1)
    }

    /// Makes the document seen in place of the same version written earlier, which is given back to be erased.
    ///
    /// Looks at the embedding again: another document may have come first.
    pub(super) fn publish(&self, tx: &Transaction<'_>, document: i64) -> Result<Vec<Row>, Failure> {
        self.check_embedding(tx)?;
        let hide = "UPDATE documents SET state = 2 WHERE tenant = ?1 AND id = ?2 AND version = ?3 AND state = 1 \
                    RETURNING document, shelf, language";
        let IndexedDocument { tenant, document_id, version, .. } = self.document;
        let parameters = params![tenant.as_str(), document_id.as_str(), *version as i64];
        let hidden = returned(tx, hide, parameters).map_err(failed)?;
        tx.execute("UPDATE documents SET state = 1 WHERE document = ?1", [document]).map_err(failed)?;
        Ok(hidden)
    }
}

fn headings_to_stored(chunk: &Chunk) -> Option<String> {
    // Strings always serialise.
    (!chunk.headings.is_empty()).then(|| serde_json::to_string(&chunk.headings).unwrap_or_default())
}

/// The model and dimension of the vectors in the index.
pub(super) fn embedding(connection: &Connection) -> Result<Option<(String, usize)>, Failure> {
    let select = "SELECT model, dimensions FROM documents WHERE state = 1 AND model IS NOT NULL LIMIT 1";
    connection
        .prepare_cached(select)
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize))).optional())
        .map_err(failed)
}

/// Hides every version of a document but `keep`.
pub(super) fn hide(
    tx: &Transaction<'_>,
    tenant: &Tenant,
    id: &DocumentId,
    keep: Option<u64>,
) -> rusqlite::Result<Vec<Row>> {
    let hide = "UPDATE documents SET state = 2 \
                WHERE tenant = ?1 AND id = ?2 AND version IS NOT ?3 AND state = 1 RETURNING document, shelf, language";
    returned(tx, hide, params![tenant.as_str(), id.as_str(), keep.map(|version| version as i64)])
}

fn returned(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, row)?;
    rows.collect()
}

/// Reads `document, shelf, language`.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let language: String = row.get(2)?;
    let language = analysis::Analyzer::for_language(&language).language();
    Ok(Row { document: row.get(0)?, shelf: row.get(1)?, language })
}

/// Removes some rows of a document that is not seen; false once nothing is left of it.
pub(super) fn erase_some(writer: &mut Connection, document: i64) -> Result<bool, Failure> {
    let (first, last) = rows(document);
    let mut step = || {
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut all = true;
        for (table, key, most) in [("chunks", "chunk", STEP), ("texts", "piece", STEP), ("terms", "part", 16)] {
            let delete = format!(
                "DELETE FROM {table} WHERE {key} IN \
                 (SELECT {key} FROM {table} WHERE {key} BETWEEN ?1 AND ?2 LIMIT {most})"
            );
            all &= tx.prepare_cached(&delete)?.execute([first, last])? < most;
        }
        if all {
            tx.execute("DELETE FROM documents WHERE document = ?1 AND state <> 1", [document])?;
        }
        tx.commit()?;
        Ok(!all)
    };
    step().map_err(failed)
}
