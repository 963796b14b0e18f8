//! The document registry: which version of each document is seen. It changes only together with the jobs that
//! carry the changes out.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{RedisJobStore, error::CallError, link::Confirm, millis, scripts};
use crate::{
    domain::{
        clock::Timestamp,
        document::{CollectionRecord, DocumentRecord, DocumentState},
        ids::{Collection, DocumentId, Tenant},
    },
    queue::{Documents, Leftover, Page, Result},
};

/// How long a sweep of the index is waited for: an ingestion that ends meanwhile is done again.
const CLAIM: Duration = Duration::from_mins(1);

/// Documents listed by one script call at most: it must stay short. A page of 100, and the one that tells of
/// another page.
const MOST: usize = 101;

type Records = Vec<(String, HashMap<String, String>)>;

#[async_trait]
impl Documents for RedisJobStore {
    async fn document(&self, tenant: &Tenant, id: &DocumentId) -> Result<Option<DocumentRecord>> {
        let found: Records = self
            .shared
            .call(&scripts::DOCUMENTS_OF, Confirm::No, |command| {
                command.arg(tenant.as_str()).arg("ids").arg(id.as_str());
            })
            .await?;
        Ok(found.into_iter().map(|(id, fields)| record(&id, &fields)).next().transpose()?)
    }

    async fn documents(
        &self,
        tenant: &Tenant,
        collection: Option<&Collection>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>> {
        let (wanted, mut items) = (limit.saturating_add(1), Vec::<DocumentRecord>::new());
        while items.len() < wanted {
            let found: Records = self
                .shared
                .call(&scripts::DOCUMENTS_OF, Confirm::No, |command| {
                    let after = items.last().map_or(cursor.unwrap_or_default(), |last| last.document_id.as_str());
                    command
                        .arg(tenant.as_str())
                        .arg("after")
                        .arg(collection.map_or("", Collection::as_str))
                        .arg(after)
                        .arg(MOST.min(wanted - items.len()));
                })
                .await?;
            if found.is_empty() {
                break;
            }
            for (id, fields) in found {
                items.push(record(&id, &fields)?);
            }
        }
        Ok(Page::cut(items, limit, |record| record.document_id.to_string()))
    }

    async fn collections(&self, tenant: &Tenant) -> Result<Vec<CollectionRecord>> {
        let found: Vec<(String, u64, u64, u64)> = self
            .shared
            .call(&scripts::COLLECTIONS, Confirm::No, |command| {
                command.arg(tenant.as_str());
            })
            .await?;
        let mut collections: Vec<_> = found
            .into_iter()
            .map(|(name, documents, chunks, size_bytes)| CollectionRecord {
                name: name.into(),
                documents,
                chunks,
                size_bytes,
            })
            .collect();
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(collections)
    }

    async fn visible(&self, tenant: &Tenant, ids: &[DocumentId]) -> Result<HashMap<DocumentId, (Collection, u64)>> {
        let found: Vec<(String, String)> = self
            .shared
            .call(&scripts::VISIBLE, Confirm::No, |command| {
                command.arg(tenant.as_str());
                for id in ids {
                    command.arg(id.as_str());
                }
            })
            .await?;
        let seen = ids
            .iter()
            .zip(found)
            .filter_map(|(id, (collection, version))| Some((id.clone(), (collection.into(), version.parse().ok()?))));
        Ok(seen.collect())
    }

    async fn leftovers(&self, limit: usize) -> Result<Vec<Leftover>> {
        let claimed: Vec<(String, String, String, u64)> = self
            .shared
            .call(&scripts::LEFTOVERS, Confirm::No, |command| {
                command.arg(limit).arg(millis(CLAIM));
            })
            .await?;
        Ok(claimed
            .into_iter()
            .map(|(tenant, id, keep, applied_version)| Leftover {
                tenant: tenant.into(),
                document_id: id.into(),
                keep: keep.parse().ok(),
                applied_version,
            })
            .collect())
    }

    async fn swept(&self, leftover: &Leftover) -> Result<()> {
        Ok(self
            .shared
            .call(&scripts::SWEPT, Confirm::No, |command| {
                command.arg(leftover.tenant.as_str()).arg(leftover.document_id.as_str()).arg(leftover.applied_version);
            })
            .await?)
    }
}

fn record(id: &str, fields: &HashMap<String, String>) -> Result<DocumentRecord, CallError> {
    let damaged = || CallError::Answer { script: "a document", detail: "its record can't be read" };
    let text = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
    let seen = number("chunk_version");
    let deletes = text("latest_change").is_some_and(|change| change == "delete");
    let newest_waits = text("outcome").is_some_and(|outcome| outcome == "waiting");
    let any_waits = number("waiting").is_some_and(|waiting| waiting > 0);
    Ok(DocumentRecord {
        document_id: id.into(),
        title: text("title").cloned().unwrap_or_default(),
        source: text("source").cloned(),
        collection: text("collection").map(|name| name.as_str().into()).ok_or_else(damaged)?,
        state: DocumentState::of(seen.is_some(), deletes && newest_waits, any_waits),
        version: seen,
        content_hash: text("content_hash").cloned(),
        made_with: text("embedding_model").cloned(),
        applied_version: number("applied_version").unwrap_or(0),
        chunks: number("chunks").unwrap_or(0) as u32,
        size_bytes: number("size_bytes").unwrap_or(0),
        created_at: Timestamp(number("created_at").ok_or_else(damaged)? as i64),
        updated_at: Timestamp(number("updated_at").ok_or_else(damaged)? as i64),
        job_id: text("job_id").and_then(|id| id.parse().ok()).ok_or_else(damaged)?,
        error: text("error").and_then(|error| serde_json::from_str(error).ok()),
    })
}
