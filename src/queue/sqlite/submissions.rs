//! What callers of the API need: submit, look, cancel, read along.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::{
    SqliteJobStore, documents,
    replays::Record,
    rows,
    rows::{Place, Row},
    sql,
    step::Step,
    writer::Durability,
};
use crate::{
    domain::{
        document::Change,
        event::{EventKind, EventPage, JobEvent},
        ids::{JobId, Tenant},
        job::{JobView, Kind, NewJob, Priority, Status, Submitted},
    },
    queue::{Cancellation, Result, Submissions, Watch, history::Flow, share, share::POSITION_SHOWN},
};

#[async_trait]
impl Submissions for SqliteJobStore {
    async fn submit(&self, job: NewJob) -> Result<Submitted> {
        let payload = rows::to_json(&job.payload)?;
        let uploaded = job.document.as_ref().map_or(0, |document| document.upload.len());
        let bytes = (payload.len() + uploaded) as i64;
        let kind = job.kind;
        let submitted = self.writer.call(Durability::Synced, move |step| submit(step, &job, &payload, bytes)).await?;
        if matches!(submitted, Submitted::Accepted(_)) {
            self.shared.counts.count(kind, Flow::Submitted);
        }
        Ok(submitted)
    }

    async fn job(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>> {
        let tenant = tenant.clone();
        self.readers.read(move |connection| view(connection, &tenant, id)).await
    }

    async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<Option<Cancellation>> {
        let tenant = tenant.clone();
        self.writer
            .call(Durability::Synced, move |step| {
                let applied = match step.one(sql::FIND_BY_ID, [id.to_string()], Row::read)? {
                    Some(row) if row.tenant == tenant && !row.status.is_final() => {
                        step.cancel(&row)?;
                        true
                    }
                    Some(_) | None => false,
                };
                Ok(view(step.connection, &tenant, id)?.map(|job| Cancellation { applied, job }))
            })
            .await
    }

    fn watch(&self, id: JobId) -> Watch {
        self.shared.watchers.watch(id)
    }

    async fn events(&self, tenant: &Tenant, id: JobId, after: Option<u64>, limit: usize) -> Result<Option<EventPage>> {
        let reader = tenant.clone();
        let page = self.readers.read(move |connection| events(connection, &reader, id, after, limit)).await?;
        if page.as_ref().is_some_and(|page| !page.ended) {
            self.read_marks.mark(id, self.shared.clock.now());
        }
        Ok(page)
    }
}

fn submit(step: &mut Step<'_>, job: &NewJob, payload: &str, bytes: i64) -> rusqlite::Result<Submitted> {
    if let Some(idempotency) = &job.idempotency {
        let params = params![job.tenant.as_str(), idempotency.key];
        let known = step.one(sql::SUBMIT_FIND_IDEMPOTENT, params, |row| {
            Ok((rows::word(row, 0)?, row.get_ref(1)?.as_str()? == idempotency.fingerprint))
        })?;
        match known {
            Some((id, true)) => return Ok(Submitted::Replayed(id)),
            Some((_, false)) => return Ok(Submitted::IdempotencyMismatch),
            None => {}
        }
    }
    let (now, options) = (step.now, step.options);
    let totals = &step.state.totals;
    let full = totals.waiting() >= options.max_jobs || (totals.bytes + bytes) as u64 > options.max_bytes;
    if full && job.kind != Kind::Replay {
        return Ok(Submitted::QueueFull { retry_after: step.state.retry_after(now, options.max_jobs) });
    }
    let deadline_at = job.deadline.map(|deadline| now.plus(deadline));
    // A job that would wait beyond its deadline waits until its deadline, and dies then.
    let due_at = job.delay.filter(|delay| !delay.is_zero()).map(|delay| {
        let due = now.plus(delay);
        deadline_at.map_or(due, |deadline| due.min(deadline))
    });
    let status = if due_at.is_some() { Status::Scheduled } else { Status::Queued };
    let id = job.id.to_string();
    let place = step.state.next_place();
    let inserted = step.execute(
        sql::SUBMIT_INSERT,
        params![
            id,
            job.tenant.as_str(),
            job.kind.as_str(),
            job.priority.as_str(),
            status.as_str(),
            place,
            job.max_attempts.max(1),
            bytes,
            now.0,
            due_at.is_none().then_some(now.0),
            due_at.map(|at| at.0),
            job.deadline.map(millis),
            deadline_at.map(|at| at.0),
            job.conversation_id,
            job.origin.context.map(|context| context.to_string()),
            job.idempotency.as_ref().map(|idempotency| idempotency.key.as_str()),
            job.idempotency.as_ref().map(|idempotency| idempotency.fingerprint.as_str()),
            payload,
            job.origin.request_id,
            job.document.as_ref().is_some_and(|document| document.change == Change::Delete)
        ],
    )?;
    if inserted == 0 {
        return Ok(Submitted::Accepted(job.id));
    }
    if let Some(document) = &job.document {
        documents::submit(step, job, document, step.connection.last_insert_rowid())?;
    }
    step.state.totals.moved(None, Some(status), bytes);
    step.changed(job.id, status);
    if status == Status::Queued {
        step.work(job.kind);
    }
    Ok(Submitted::Accepted(job.id))
}

/// A duration as stored.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn view(connection: &Connection, tenant: &Tenant, id: JobId) -> rusqlite::Result<Option<JobView>> {
    let found = connection
        .prepare_cached(sql::JOB_VIEW)?
        .query_row(params![tenant.as_str(), id.to_string()], |row| rows::job_view(id, row))
        .optional()?;
    let Some((mut view, number, place)) = found else { return Ok(None) };
    if view.kind == Kind::Replay
        && let Some(record) = Record::read(connection, number)?
    {
        view = view.with_tally(&record.tally);
    }
    if view.status == Status::Queued {
        view.position = position(connection, &view, &place)?;
    }
    Ok(Some(view))
}

/// How many jobs are taken before this one: those before it in its list, and of the other lists as many
/// as come up meanwhile by their shares.
fn position(connection: &Connection, view: &JobView, place: &Place) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached(sql::JOB_POSITION)?;
    let mut count = |priority: Priority, before: i64, limit: u64| {
        statement.query_row(params![view.kind.as_str(), priority.as_str(), before, limit as i64], |row| {
            row.get::<_, i64>(0).map(|count| count as u64)
        })
    };
    let own = count(place.priority, place.place, POSITION_SHOWN + 1)?;
    let mut position = own;
    for other in Priority::ALL.iter().filter(|other| **other != place.priority) {
        if position > POSITION_SHOWN {
            break;
        }
        let share = (own + 1) * share::weight(*other) / share::weight(place.priority);
        position += count(*other, i64::MAX, share)?;
    }
    Ok((position <= POSITION_SHOWN).then_some(position))
}

fn events(
    connection: &Connection,
    tenant: &Tenant,
    id: JobId,
    after: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Option<EventPage>> {
    let head = connection
        .prepare_cached(sql::EVENTS_HEAD)?
        .query_row(params![tenant.as_str(), id.to_string()], |row| {
            let (job, status) = (row.get::<_, i64>(0)?, rows::word::<Status>(row, 1)?);
            Ok((job, status, row.get::<_, Option<String>>(2)?, row.get::<_, i64>(3)? as u64))
        })
        .optional()?;
    let Some((job, status, result, last)) = head else { return Ok(None) };
    let mut events = Vec::new();
    if after.is_none() && limit > 0 {
        events.push(JobEvent { seq: 0, attempt: 0, kind: EventKind::Created {} });
    }
    let room = limit - events.len();
    let from = after.unwrap_or(0).min(i64::MAX as u64) as i64;
    let mut statement = connection.prepare_cached(sql::EVENTS_AFTER)?;
    let mut found = statement.query(params![job, from, room as i64])?;
    while let Some(row) = found.next()? {
        let kind = rows::json_or_none(row, 2)?.unwrap_or_else(|| {
            let result = result.as_deref().and_then(|text| serde_json::from_str(text).ok());
            EventKind::Completed { result: result.unwrap_or(Value::Null) }
        });
        events.push(JobEvent { seq: row.get::<_, i64>(0)? as u64, attempt: row.get(1)?, kind });
    }
    let read_to = events.last().map(|event| event.seq).or(after);
    let ended = status.is_final() && read_to.is_some_and(|read_to| read_to >= last);
    Ok(Some(EventPage { events, ended }))
}
