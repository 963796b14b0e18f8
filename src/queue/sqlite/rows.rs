//! From rows to the domain's types and back.

use std::str::FromStr;

use rusqlite::Row as SqlRow;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::error::corrupt;
use crate::domain::{
    clock::Timestamp,
    document::{DocumentRecord, DocumentState},
    ids::{JobId, Tenant},
    job::{DeadLetter, JobView, Kind, Priority, Status},
    origin::Origin,
    spent::UsageTotal,
};

/// A word of a closed set, or an id.
pub(super) fn word<T: FromStr>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| corrupt(column, error))
}

/// A value stored as JSON.
pub(super) fn json<T: DeserializeOwned>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<T> {
    // Only the kind of the mistake: the error's own words may quote what is stored, and errors are logged.
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| corrupt(column, format!("{:?} error in JSON", error.classify())))
}

/// A value stored as JSON, if there is one.
pub(super) fn json_or_none<T: DeserializeOwned>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => json(row, column).map(Some),
    }
}

/// An instant.
pub(super) fn time(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

/// An instant, if there is one.
pub(super) fn time_or_none(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp))
}

/// A name of the domain.
pub(super) fn name<T: for<'a> From<&'a str>>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<T> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

/// A job's origin out of the columns of its request's id and trace context.
pub(super) fn origin(row: &SqlRow<'_>, request_id: usize, traceparent: usize) -> rusqlite::Result<Origin> {
    Ok(Origin::kept(row.get(request_id)?, row.get_ref(traceparent)?.as_str_or_null()?))
}

/// A value as JSON; what the store writes is always representable.
pub(super) fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A payload as it was given; text that is no JSON is handed on as text, for the worker to bury.
pub(super) fn payload(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// What every change of a job needs to know of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) job: i64,
    pub(super) id: JobId,
    pub(super) tenant: Tenant,
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) place: i64,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) delivery: i64,
    pub(super) lost_leases: u32,
    pub(super) deferrals: u32,
    pub(super) worker: Option<String>,
    pub(super) bytes: i64,
    pub(super) started_at: Option<Timestamp>,
    pub(super) deadline_ms: Option<i64>,
    pub(super) deadline_at: Option<Timestamp>,
    pub(super) conversation_id: Option<String>,
    /// The last failure, as JSON.
    pub(super) error: Option<String>,
}

impl Row {
    /// Reads the columns that the `find_*` statements return.
    pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            job: row.get(0)?,
            id: word(row, 1)?,
            tenant: name(row, 2)?,
            kind: word(row, 3)?,
            status: word(row, 5)?,
            place: row.get(6)?,
            attempt: row.get(7)?,
            max_attempts: row.get(8)?,
            delivery: row.get(9)?,
            lost_leases: row.get(10)?,
            deferrals: row.get(11)?,
            worker: row.get(12)?,
            bytes: row.get(13)?,
            started_at: time_or_none(row, 14)?,
            deadline_ms: row.get(15)?,
            deadline_at: time_or_none(row, 16)?,
            conversation_id: row.get(17)?,
            error: row.get(18)?,
        })
    }

    /// The attempts used by failures: what `attempt` is once a delivery was not counted.
    pub(super) fn uncounted(&self) -> u32 {
        match self.status {
            Status::Running => self.attempt.saturating_sub(1),
            Status::Queued | Status::Scheduled | Status::Completed | Status::Dead | Status::Cancelled => self.attempt,
        }
    }
}

/// Where a job stands in its list.
pub(super) struct Place {
    pub(super) priority: Priority,
    pub(super) place: i64,
}

/// Reads the columns of `job_view`, with the job's number; the position is left for the caller.
pub(super) fn job_view(id: JobId, row: &SqlRow<'_>) -> rusqlite::Result<(JobView, i64, Place)> {
    let view = JobView {
        job_id: id,
        kind: word(row, 0)?,
        status: word(row, 1)?,
        attempt: row.get(2)?,
        max_attempts: row.get(3)?,
        deliveries: row.get::<_, i64>(4)? as u64,
        lost_leases: row.get(5)?,
        deferrals: row.get(6)?,
        position: None,
        created_at: time(row, 7)?,
        started_at: time_or_none(row, 8)?,
        finished_at: time_or_none(row, 9)?,
        progress: None,
        result: json_or_none(row, 10)?,
        error: json_or_none(row, 11)?,
        usage_total: UsageTotal {
            calls: row.get::<_, i64>(15)? as u64,
            prompt_tokens: row.get::<_, i64>(16)? as u64,
            completion_tokens: row.get::<_, i64>(17)? as u64,
            wasted_tokens: row.get::<_, i64>(18)? as u64,
        },
        trace_id: Origin::kept(None, row.get_ref(19)?.as_str_or_null()?).trace_id(id),
    };
    Ok((view, row.get(14)?, Place { priority: word(row, 12)?, place: row.get(13)? }))
}

/// Reads the columns of `dead_letters` and `dead_letter`.
pub(super) fn dead_letter(row: &SqlRow<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        job_id: word(row, 0)?,
        tenant: name(row, 1)?,
        kind: word(row, 2)?,
        reason: word(row, 3)?,
        error: json(row, 4)?,
        attempt: row.get(5)?,
        deliveries: row.get::<_, i64>(6)? as u64,
        lost_leases: row.get(7)?,
        created_at: time(row, 8)?,
        dead_at: time(row, 9)?,
    })
}

/// Reads the columns of `document` and its lists.
pub(super) fn document(row: &SqlRow<'_>) -> rusqlite::Result<DocumentRecord> {
    let seen: Option<i64> = row.get(4)?;
    let deletes = row.get_ref(13)?.as_str()? == "delete";
    let newest_waits = row.get_ref(14)?.as_str()? == "waiting";
    let any_waits = row.get::<_, i64>(15)? > 0;
    let state = DocumentState::of(seen.is_some(), deletes && newest_waits, any_waits);
    Ok(DocumentRecord {
        document_id: name(row, 0)?,
        title: row.get(1)?,
        source: row.get(2)?,
        collection: name(row, 3)?,
        state,
        version: seen.map(|version| version as u64),
        content_hash: row.get(5)?,
        applied_version: row.get::<_, i64>(6)? as u64,
        chunks: row.get(7)?,
        size_bytes: row.get::<_, i64>(8)? as u64,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
        job_id: word(row, 11)?,
        error: json_or_none(row, 12)?,
        made_with: row.get(16)?,
    })
}
