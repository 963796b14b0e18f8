//! A job's record as the scripts keep it: header and payload in the data hash, what changes in `meta`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::CallError;
use crate::domain::{
    clock::Timestamp,
    document::{Change, DocumentChange, DocumentVersion, Format},
    ids::{Collection, DocumentId, JobId, Tenant},
    job::{DeadLetter, JobError, JobView, Kind, NewJob, Priority, Status},
    origin::Origin,
    spent::UsageTotal,
};

/// What a submitted job's header says beside what the script adds; also what is read of it. What goes without saying
/// is left out: a million of them may wait in memory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Header {
    #[serde(skip_serializing)]
    pub(super) created_at: i64,
    #[serde(default, skip_serializing)]
    replayed_at: Option<i64>,
    #[serde(default, skip_serializing)]
    version: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) tenant: Tenant,
    kind: Option<Kind>,
    /// None: normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(default)]
    pub(super) max_attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conversation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<HeaderDocument>,
}

fn is_default(tenant: &Tenant) -> bool {
    *tenant == Tenant::default()
}

#[derive(Debug, Serialize, Deserialize)]
struct HeaderDocument {
    document_id: DocumentId,
    change: Change,
    collection: Collection,
    title: String,
    source: Option<String>,
    content_hash: String,
    format: Format,
}

impl From<&DocumentChange> for HeaderDocument {
    fn from(change: &DocumentChange) -> Self {
        Self {
            document_id: change.document_id.clone(),
            change: change.change,
            collection: change.collection.clone(),
            title: change.title.clone(),
            source: change.source.clone(),
            content_hash: change.content_hash.clone(),
            format: change.format,
        }
    }
}

impl Header {
    pub(super) fn of(job: &NewJob) -> Self {
        Self {
            tenant: job.tenant.clone(),
            kind: Some(job.kind),
            priority: (job.priority != Priority::Normal).then_some(job.priority),
            max_attempts: job.max_attempts.max(1),
            deadline_ms: job.deadline.map(|deadline| i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX)),
            conversation_id: job.conversation_id.clone(),
            traceparent: job.origin.context.map(|context| context.to_string()),
            request_id: job.origin.request_id.clone(),
            idempotency: job.idempotency.as_ref().map(|idempotency| idempotency.key.clone()),
            document: job.document.as_ref().map(HeaderDocument::from),
            ..Self::default()
        }
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, CallError> {
        serde_json::from_slice(json)
            .map_err(|_| CallError::Answer { script: "a job", detail: "its header is no header" })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Chat)
    }

    pub(super) fn priority(&self) -> Priority {
        self.priority.unwrap_or(Priority::Normal)
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::kept(self.request_id.clone(), self.traceparent.as_deref())
    }

    pub(super) fn deadline_at(&self) -> Option<Timestamp> {
        self.deadline_ms.map(|ms| Timestamp(self.replayed_at.unwrap_or(self.created_at).saturating_add(ms)))
    }

    pub(super) fn document(&self) -> Option<DocumentVersion> {
        self.document.as_ref().map(|document| DocumentVersion {
            document_id: document.document_id.clone(),
            change: document.change,
            collection: document.collection.clone(),
            title: document.title.clone(),
            source: document.source.clone(),
            content_hash: document.content_hash.clone(),
            format: document.format,
            version: self.version,
        })
    }
}

/// Header and payload of a job's data. A job that another producer pushed, and that nobody has taken in hand
/// yet, is a payload alone.
pub(super) fn split(data: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    match (data.strip_prefix(b"1"), end) {
        (Some(rest), Some(end)) if rest.first() == Some(&b'{') => (data.get(1..end), &data[end + 1..]),
        _ => (None, data),
    }
}

/// A payload as it was given; what is no JSON is handed on as text, for the worker to bury.
pub(super) fn payload(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

/// The part of a record that changes.
#[derive(Debug, Default)]
pub(super) struct Meta(HashMap<String, String>);

impl From<HashMap<String, String>> for Meta {
    fn from(fields: HashMap<String, String>) -> Self {
        Self(fields)
    }
}

impl Meta {
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, field: &str) -> Option<T> {
        self.text(field)?.parse().ok()
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        self.number(field).map(Timestamp)
    }

    fn status(&self) -> Status {
        self.text("status").and_then(|word| word.parse().ok()).unwrap_or(Status::Queued)
    }

    fn error(&self) -> Option<JobError> {
        let error: JobError = serde_json::from_str(self.text("error")?).ok()?;
        Some(JobError { retry_at: self.time("retry_at"), ..error })
    }
}

/// A job as its owner sees it; the position is left for the caller.
pub(super) fn job_view(id: JobId, header: &Header, meta: &Meta, result: Option<&[u8]>) -> JobView {
    let status = meta.status();
    JobView {
        job_id: id,
        kind: header.kind(),
        status,
        attempt: meta.number("attempt").unwrap_or(0),
        max_attempts: header.max_attempts,
        deliveries: meta.number("deliveries").unwrap_or(0),
        lost_leases: meta.number("lost_leases").unwrap_or(0),
        deferrals: meta.number("deferrals").unwrap_or(0),
        position: None,
        created_at: Timestamp(header.created_at),
        started_at: meta.time("started_at"),
        finished_at: meta.time("finished_at"),
        progress: None,
        result: result.and_then(|json| serde_json::from_slice(json).ok()),
        error: meta.error(),
        usage_total: UsageTotal {
            calls: meta.number("calls").unwrap_or(0),
            prompt_tokens: meta.number("prompt_tokens").unwrap_or(0),
            completion_tokens: meta.number("completion_tokens").unwrap_or(0),
            wasted_tokens: meta.number("wasted_tokens").unwrap_or(0),
        },
        trace_id: header.origin().trace_id(id),
    }
}

/// A dead letter as listed; none if the record does not say why it is dead.
pub(super) fn dead_letter(id: JobId, header: &Header, meta: &Meta) -> Option<DeadLetter> {
    Some(DeadLetter {
        job_id: id,
        tenant: header.tenant.clone(),
        kind: header.kind(),
        reason: meta.text("reason")?.parse().ok()?,
        error: meta.error()?,
        attempt: meta.number("attempt").unwrap_or(0),
        deliveries: meta.number("deliveries").unwrap_or(0),
        lost_leases: meta.number("lost_leases").unwrap_or(0),
        created_at: Timestamp(header.created_at),
        dead_at: meta.time("finished_at")?,
    })
}
