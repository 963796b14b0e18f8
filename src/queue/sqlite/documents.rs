//! The document registry: which version of each document is seen. It changes only together with the jobs
//! that carry the changes out.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::{SqliteJobStore, deliveries, rows, rows::Row, sql, step::Step, writer::Durability};
use crate::{
    domain::{
        clock::Timestamp,
        document::{Change, CollectionRecord, DocumentChange, DocumentCommit, DocumentRecord, DocumentVersion},
        ids::{Collection, DocumentId, Tenant},
        job::{NewJob, Status},
    },
    queue::{Documents, Leftover, Page, Result},
};

/// How long a sweep of the index is waited for: an ingestion that ends meanwhile is done again.
const CLAIM: Duration = Duration::from_mins(1);

/// How long an ingestion waits that ended during a sweep.
const AFTER_SWEEP: Duration = Duration::from_secs(1);

#[async_trait]
impl Documents for SqliteJobStore {
    async fn document(&self, tenant: &Tenant, id: &DocumentId) -> Result<Option<DocumentRecord>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.readers
            .read(move |connection| {
                let params = params![tenant.as_str(), id.as_str()];
                connection.prepare_cached(sql::DOCUMENT)?.query_row(params, rows::document).optional()
            })
            .await
    }

    async fn documents(
        &self,
        tenant: &Tenant,
        collection: Option<&Collection>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>> {
        let (tenant, collection) = (tenant.clone(), collection.cloned());
        let after = cursor.unwrap_or_default().to_owned();
        self.readers
            .read(move |connection| {
                let more = limit.saturating_add(1) as i64;
                let items = if let Some(collection) = &collection {
                    let params = params![tenant.as_str(), after, more, collection.as_str()];
                    let mut statement = connection.prepare_cached(sql::DOCUMENTS_OF_COLLECTION)?;
                    statement.query_map(params, rows::document)?.collect::<rusqlite::Result<Vec<_>>>()?
                } else {
                    let mut statement = connection.prepare_cached(sql::DOCUMENTS)?;
                    let found = statement.query_map(params![tenant.as_str(), after, more], rows::document)?;
                    found.collect::<rusqlite::Result<Vec<_>>>()?
                };
                Ok(Page::cut(items, limit, |record| record.document_id.to_string()))
            })
            .await
    }

    async fn collections(&self, tenant: &Tenant) -> Result<Vec<CollectionRecord>> {
        let tenant = tenant.clone();
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::COLLECTIONS)?;
                let found = statement.query_map([tenant.as_str()], |row| {
                    Ok(CollectionRecord {
                        name: rows::name(row, 0)?,
                        documents: row.get::<_, i64>(1)? as u64,
                        chunks: row.get::<_, i64>(2)? as u64,
                        size_bytes: row.get::<_, i64>(3)? as u64,
                    })
                })?;
                found.collect()
            })
            .await
    }

    async fn visible(&self, tenant: &Tenant, ids: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>> {
        let (tenant, ids) = (tenant.clone(), ids.to_vec());
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::VISIBLE)?;
                let mut visible = HashMap::with_capacity(ids.len());
                for id in ids {
                    let params = params![tenant.as_str(), id.as_str()];
                    let seen = statement
                        .query_row(params, |row| Ok((rows::name(row, 0)?, row.get::<_, i64>(1)? as u64)))
                        .optional()?;
                    if let Some(seen) = seen {
                        visible.insert(id, seen);
                    }
                }
                Ok(visible)
            })
            .await
    }

    async fn leftovers(&self, limit: usize) -> Result<Vec<Leftover>> {
        self.writer
            .call(Durability::Written, move |step| {
                let until = step.now.plus(CLAIM);
                step.all(sql::LEFTOVERS, params![limit as i64, until.0], |row| {
                    Ok(Leftover {
                        tenant: rows::name(row, 0)?,
                        document_id: rows::name(row, 1)?,
                        keep: row.get::<_, Option<i64>>(2)?.map(|version| version as u64),
                        applied_version: row.get::<_, i64>(3)? as u64,
                    })
                })
            })
            .await
    }

    async fn swept(&self, leftover: &Leftover) -> Result<()> {
        let leftover = leftover.clone();
        self.writer
            .call(Durability::Written, move |step| {
                let (tenant, id) = (leftover.tenant.as_str(), leftover.document_id.as_str());
                step.execute(sql::SWEPT, params![tenant, id, leftover.applied_version as i64])?;
                Ok(())
            })
            .await
    }
}

/// Gives a submitted change its version and stores it with its job.
pub(super) fn submit(step: &Step<'_>, job: &NewJob, document: &DocumentChange, number: i64) -> rusqlite::Result<()> {
    let change = match document.change {
        Change::Put => "put",
        Change::Delete => "delete",
    };
    let (tenant, id) = (job.tenant.as_str(), document.document_id.as_str());
    let version: i64 = step.connection.prepare_cached(sql::SUBMIT_DOCUMENT)?.query_row(
        params![
            tenant,
            id,
            document.collection.as_str(),
            document.title,
            document.source,
            change,
            step.now.0,
            job.id.to_string()
        ],
        |row| row.get(0),
    )?;
    let data = rows::to_json(&DocumentVersion {
        document_id: document.document_id.clone(),
        change: document.change,
        collection: document.collection.clone(),
        title: document.title.clone(),
        source: document.source.clone(),
        content_hash: document.content_hash.clone(),
        format: document.format,
        version: version as u64,
    })?;
    step.execute(sql::SUBMIT_CHANGE, params![number, tenant, id, version, data])?;
    if !document.upload.is_empty() {
        step.execute(sql::SUBMIT_UPLOAD, params![number, document.upload])?;
    }
    Ok(())
}

/// The document of a job.
struct Target {
    tenant: String,
    document_id: String,
    version: i64,
    data: DocumentVersion,
}

fn target(step: &Step<'_>, job: i64) -> rusqlite::Result<Option<Target>> {
    step.one(sql::DOCUMENT_OF_JOB, [job], |row| {
        Ok(Target { tenant: row.get(0)?, document_id: row.get(1)?, version: row.get(2)?, data: rows::json(row, 3)? })
    })
}

/// Applies what an ingestion made of its document; the highest version wins, whatever the order. False: it
/// can't be applied, and the job was put back to be done again.
pub(super) fn commit(step: &mut Step<'_>, row: &Row, commit: &DocumentCommit) -> rusqlite::Result<bool> {
    let Some(Target { tenant, document_id, version, data }) = target(step, row.job)? else { return Ok(true) };
    let check = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, rows::time_or_none(row, 2)?))
    };
    let Some((applied, seen_hash, claim_until)) =
        step.one(sql::DOCUMENT_COMMIT_CHECK, params![tenant, document_id], check)?
    else {
        return Ok(true);
    };
    if version <= applied {
        return Ok(true);
    }
    let now: Timestamp = step.now;
    match commit {
        DocumentCommit::Superseded => {}
        DocumentCommit::Unchanged => {
            // Another version was applied since the worker compared: what it wants is no longer there.
            if seen_hash.as_deref() != Some(data.content_hash.as_str()) {
                step.hand_back(row)?;
                return Ok(false);
            }
            step.execute(sql::DOCUMENT_KEEP, params![tenant, document_id, version])?;
        }
        DocumentCommit::Deleted => {
            step.execute(sql::DOCUMENT_DELETE, params![tenant, document_id, version, now.0])?;
        }
        DocumentCommit::Replaced { title, made_with, chunks, text_bytes } => {
            // A sweep that began before this job may still run and take the new chunks with it.
            if claim_until.is_some_and(|until| until > now) {
                let due = now.plus(AFTER_SWEEP);
                deliveries::schedule(step, row, due, row.uncounted(), row.deferrals, row.error.as_deref())?;
                return Ok(false);
            }
            step.execute(
                sql::DOCUMENT_REPLACE,
                params![
                    tenant,
                    document_id,
                    version,
                    data.collection.as_str(),
                    title,
                    data.source,
                    data.content_hash,
                    chunks,
                    *text_bytes as i64,
                    now.0,
                    made_with
                ],
            )?;
        }
    }
    Ok(true)
}

/// Takes note in the registry that a job became final.
pub(super) fn job_ended(step: &Step<'_>, row: &Row, status: Status, error: Option<&str>) -> rusqlite::Result<()> {
    let Some(Target { tenant, document_id, version, .. }) = target(step, row.job)? else { return Ok(()) };
    let (outcome, error, dead) = match status {
        Status::Completed => ("applied", None, false),
        Status::Dead => ("failed", error, true),
        Status::Cancelled | Status::Queued | Status::Scheduled | Status::Running => ("dropped", None, false),
    };
    // A job that was never handed over wrote nothing, and a first version can't have left another behind.
    let may_leave = row.delivery > 0 && (version > 1 || status != Status::Completed);
    step.execute(sql::DOCUMENT_END, params![tenant, document_id, version, outcome, error, dead, may_leave])?;
    Ok(())
}

/// Takes note in the registry that a dead ingestion waits again.
pub(super) fn job_replayed(step: &Step<'_>, row: &Row) -> rusqlite::Result<()> {
    if let Some(Target { tenant, document_id, version, .. }) = target(step, row.job)? {
        step.execute(sql::DOCUMENT_REPLAYED, params![tenant, document_id, version])?;
    }
    Ok(())
}

/// Takes note in the registry that a dead ingestion is about to be removed.
pub(super) fn letter_removed(step: &Step<'_>, row: &Row) -> rusqlite::Result<()> {
    if let Some(Target { tenant, document_id, version, .. }) = target(step, row.job)? {
        step.execute(sql::DOCUMENT_LETTER_REMOVED, params![tenant, document_id, version, step.now.0])?;
    }
    Ok(())
}
