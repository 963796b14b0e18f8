//! What operators need: figures, pause and resume, dead letters.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::{SqliteJobStore, documents, rows, rows::Row, sql, state::Totals, step::Step, writer::Durability};
use crate::{
    domain::{
        audit::{AuditEntry, AuditNote},
        clock::Timestamp,
        event::EventKind,
        failure::Code,
        ids::JobId,
        job::{AttemptRecord, DeadLetter, DeadReason, Kind, Status},
        origin::Origin,
    },
    queue::{
        CancelStep, CancelTally, Condition, DeadCursor, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, KindStats,
        Operations, Page, QueueStats, Replay, Result, WorkerView, history::StoredInterval,
    },
};

/// Jobs cancelled in one step at most: a submit hardly waits for one.
const MOST: usize = 100;

/// Sorts after every id, to begin with the newest dead letter.
const LAST_ID: &str = "~";

#[async_trait]
impl Operations for SqliteJobStore {
    async fn stats(&self) -> Result<QueueStats> {
        let now = self.shared.clock.now();
        self.readers.read(move |connection| stats(connection, now)).await
    }

    async fn pause(&self, kinds: &[Kind]) -> Result<()> {
        let kinds = kinds.to_vec();
        self.writer
            .call(Durability::Synced, move |step| {
                for kind in &kinds {
                    step.execute(sql::PAUSE, [kind.as_str()])?;
                    step.state.set_paused(*kind, true);
                }
                Ok(())
            })
            .await
    }

    async fn resume(&self, kinds: &[Kind]) -> Result<()> {
        let kinds = kinds.to_vec();
        self.writer
            .call(Durability::Synced, move |step| {
                for kind in &kinds {
                    step.execute(sql::RESUME, [kind.as_str()])?;
                    step.state.set_paused(*kind, false);
                    step.work(*kind);
                }
                Ok(())
            })
            .await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        let filter = filter.clone();
        let before = cursor.and_then(DeadCursor::parse);
        self.readers
            .read(move |connection| {
                let (at, id) = match before {
                    Some(cursor) => (cursor.at, cursor.id.to_string()),
                    None => (i64::MAX, LAST_ID.to_owned()),
                };
                let [reason, code, kind] = words(&filter);
                let params = params![reason, code, kind, at, id, limit.saturating_add(1) as i64];
                let mut statement = connection.prepare_cached(sql::DEAD_LETTERS)?;
                let items = statement.query_map(params, rows::dead_letter)?.collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(Page::cut(items, limit, |letter| DeadCursor { at: letter.dead_at.0, id: letter.job_id }.to_string()))
            })
            .await
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>> {
        let filter = filter.clone();
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::DEAD_LETTER_GROUPS)?;
                let found = statement.query_map(words(&filter), |row| {
                    Ok(DeadLetterGroup {
                        reason: rows::word(row, 0)?,
                        code: Code::stored(row.get_ref(1)?.as_str()?),
                        count: row.get::<_, i64>(2)? as u64,
                    })
                })?;
                let mut groups: Vec<DeadLetterGroup> = Vec::new();
                for group in found {
                    let group = group?;
                    // Several words of a newer version are one code here.
                    match groups.iter_mut().find(|known| (known.reason, known.code) == (group.reason, group.code)) {
                        Some(known) => known.count += group.count,
                        None => groups.push(group),
                    }
                }
                Ok(groups)
            })
            .await
    }

    async fn dead_letter(&self, id: JobId) -> Result<Option<DeadLetterDetail>> {
        self.readers.read(move |connection| dead_letter(connection, id)).await
    }

    async fn replay(&self, id: JobId, payload: Option<Value>) -> Result<Replay> {
        let payload = payload.map(|payload| rows::to_json(&payload)).transpose()?;
        self.writer
            .call(Durability::Synced, move |step| {
                let Some(row) = dead(step, id)? else { return Ok(Replay::NotDead) };
                replay(step, &row, payload.as_deref())?;
                Ok(Replay::Replayed)
            })
            .await
    }

    async fn discard(&self, id: JobId) -> Result<bool> {
        self.writer
            .call(Durability::Synced, move |step| {
                let Some(row) = dead(step, id)? else { return Ok(false) };
                remove(step, &row)?;
                Ok(true)
            })
            .await
    }

    async fn cancel_some(&self, kind: Kind, status: Status, step: CancelStep) -> Result<CancelTally> {
        let asked = step;
        self.writer
            .call(Durability::Synced, move |step| {
                let statement = match status {
                    Status::Queued => sql::FIND_SOME_QUEUED,
                    Status::Scheduled => sql::FIND_SOME_SCHEDULED,
                    Status::Running => sql::FIND_SOME_RUNNING,
                    Status::Completed | Status::Dead | Status::Cancelled => return Ok(CancelTally::default()),
                };
                let params = params![kind.as_str(), asked.max.min(MOST) as i64, asked.skip as i64];
                let rows = step.all(statement, params, Row::read)?;
                let mut cancelled = 0;
                for row in rows.iter().filter(|_| !asked.dry_run) {
                    step.cancel(row)?;
                    cancelled += 1;
                }
                Ok(CancelTally { seen: rows.len(), matched: rows.len(), cancelled })
            })
            .await
    }

    async fn note(&self, note: &AuditNote) -> Result<()> {
        let json = rows::to_json(note)?;
        self.writer
            .call(Durability::Synced, move |step| {
                step.execute(sql::NOTE, params![step.now.0, json])?;
                Ok(())
            })
            .await
    }

    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<Page<AuditEntry>> {
        let before = cursor.and_then(|cursor| cursor.parse::<i64>().ok()).unwrap_or(i64::MAX);
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::AUDIT)?;
                let entries = statement.query_map(params![before, limit.saturating_add(1) as i64], |row| {
                    Ok((row.get::<_, i64>(0)?, AuditEntry { at: rows::time(row, 1)?, note: rows::json(row, 2)? }))
                })?;
                let entries = entries.collect::<rusqlite::Result<Vec<_>>>()?;
                let Page { items, next_cursor } = Page::cut(entries, limit, |(number, _)| number.to_string());
                Ok(Page { items: items.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
            })
            .await
    }

    async fn history(&self, minutes: u64) -> Result<Vec<StoredInterval>> {
        self.read_history(minutes).await
    }
}

fn words(filter: &DeadLetterFilter) -> [Option<&'static str>; 3] {
    [filter.reason.map(DeadReason::as_str), filter.code.map(Code::as_str), filter.kind.map(Kind::as_str)]
}

fn dead(step: &Step<'_>, id: JobId) -> rusqlite::Result<Option<Row>> {
    let row = step.one(sql::FIND_BY_ID, [id.to_string()], Row::read)?;
    Ok(row.filter(|row| row.status == Status::Dead))
}

/// Removes a final job with all that hangs on it.
pub(super) fn remove(step: &mut Step<'_>, row: &Row) -> rusqlite::Result<()> {
    if row.status == Status::Dead && row.kind == Kind::Ingest {
        documents::letter_removed(step, row)?;
    }
    step.execute(sql::REMOVE, [row.job])?;
    step.state.totals.moved(Some(row.status), None, row.bytes);
    step.changed(row.id, row.status);
    Ok(())
}

/// Queues a dead letter again.
pub(super) fn replay(step: &mut Step<'_>, row: &Row, payload: Option<&str>) -> rusqlite::Result<()> {
    let place = step.state.next_place();
    let mut bytes = row.bytes;
    if let Some(payload) = payload {
        let before: i64 = step.connection.prepare_cached(sql::REPLAY_BYTES)?.query_row([row.job], |row| row.get(0))?;
        bytes += payload.len() as i64 - before;
    }
    let deadline_at = row.deadline_ms.map(|millis| step.now.0.saturating_add(millis));
    step.execute(sql::REPLAY, params![row.job, place, step.now.0, deadline_at, payload, bytes])?;
    step.event(row.job, 0, &EventKind::Replayed {})?;
    if row.kind == Kind::Ingest {
        documents::job_replayed(step, row)?;
    }
    step.state.totals.moved(Some(Status::Dead), Some(Status::Queued), bytes);
    step.changed(row.id, Status::Queued);
    step.work(row.kind);
    Ok(())
}

fn stats(connection: &Connection, now: Timestamp) -> rusqlite::Result<QueueStats> {
    let totals = Totals::read(connection)?;
    let due: i64 = connection.prepare_cached(sql::STATS_DUE)?.query_row([now.0], |row| row.get(0))?;
    let oldest = connection.prepare_cached(sql::STATS_OLDEST)?.query_row([], |row| rows::time_or_none(row, 0))?;
    let paused = connection
        .prepare_cached(sql::PAUSED)?
        .query_map([], |row| rows::word(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    let workers = connection
        .prepare_cached(sql::STATS_WORKERS)?
        .query_map([now.0], |row| {
            Ok(WorkerView {
                info: rows::json(row, 0)?,
                last_heartbeat_at: rows::time(row, 1)?,
                running: row.get::<_, i64>(2)? as u64,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let workers = workers.into_iter().filter(|worker| worker.info.is_for_callers()).collect();
    let (kinds, dead) = per_kind(connection, now)?;
    Ok(QueueStats {
        counts: Status::ALL.iter().map(|status| (*status, totals.of(*status))).collect(),
        backlog: totals.of(Status::Queued) + due as u64,
        running: totals.of(Status::Running),
        oldest_queued_age_ms: oldest.map(|since| now.since(since).as_millis() as u64),
        paused,
        workers,
        kinds,
        dead,
        condition: condition(connection)?,
    })
}

/// The file: nothing in it is lost while it can be written.
fn condition(connection: &Connection) -> rusqlite::Result<Condition> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = pragma("page_count")? * pragma("page_size")?;
    Ok(Condition { used_bytes: u64::try_from(used).ok(), ..Condition::default() })
}

/// The figures of each kind, and dead letters per reason.
fn per_kind(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<(HashMap<Kind, KindStats>, HashMap<DeadReason, u64>)> {
    let mut kinds: HashMap<Kind, KindStats> = Kind::ALL.iter().map(|kind| (*kind, KindStats::default())).collect();
    for (kind, stats) in &mut kinds {
        let oldest = connection
            .prepare_cached(sql::STATS_HEADS)?
            .query_row([kind.as_str()], |row| rows::time_or_none(row, 0))?;
        stats.oldest_queued_age_ms = oldest.map(|since| now.since(since).as_millis() as u64);
    }
    let mut statement = connection.prepare_cached(sql::STATS_KINDS)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let jobs = row.get::<_, i64>(2)? as u64;
        let of_kind = kinds.entry(rows::word(row, 1)?).or_default();
        match rows::word(row, 0)? {
            Status::Queued => of_kind.queued = jobs,
            Status::Scheduled => of_kind.scheduled = jobs,
            Status::Running => of_kind.running = jobs,
            Status::Completed | Status::Dead | Status::Cancelled => {}
        }
    }
    let mut dead: HashMap<DeadReason, u64> = DeadReason::ALL.iter().map(|reason| (*reason, 0)).collect();
    let mut statement = connection.prepare_cached(sql::STATS_DEAD)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let count = row.get::<_, i64>(2)? as u64;
        *dead.entry(rows::word(row, 0)?).or_default() += count;
        kinds.entry(rows::word(row, 1)?).or_default().dead += count;
    }
    Ok((kinds, dead))
}

fn dead_letter(connection: &Connection, id: JobId) -> rusqlite::Result<Option<DeadLetterDetail>> {
    let found = connection
        .prepare_cached(sql::DEAD_LETTER)?
        .query_row([id.to_string()], |row| {
            let origin = Origin::kept(row.get(12)?, None);
            let request_id = origin.request_id(id).into_owned();
            Ok((rows::dead_letter(row)?, request_id, rows::payload(row.get(10)?), row.get::<_, i64>(11)?))
        })
        .optional()?;
    let Some((letter, request_id, payload, job)) = found else { return Ok(None) };
    let attempts = connection
        .prepare_cached(sql::DEAD_LETTER_ATTEMPTS)?
        .query_map([job], |row| {
            Ok(AttemptRecord {
                attempt: row.get(0)?,
                delivery: row.get::<_, i64>(1)? as u64,
                worker: rows::name(row, 2)?,
                started_at: rows::time(row, 3)?,
                ended_at: rows::time(row, 4)?,
                outcome: rows::word(row, 5)?,
                error: rows::json_or_none(row, 6)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(DeadLetterDetail { letter, request_id, payload, attempts }))
}
