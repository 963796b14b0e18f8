//! What workers need: beat, fetch, keep, finish, release. Every step under a lease begins with the fence
//! ([`held`]): only the job's present lease finds the job's row.

use std::{collections::VecDeque, time::Duration};

use async_trait::async_trait;
use rusqlite::params;

use super::{
    SqliteJobStore, documents, rows,
    rows::Row,
    sql,
    step::{Ending, Step},
    writer::Durability,
};
use crate::{
    domain::{
        answer::{Citation, Context, Turn},
        clock::Timestamp,
        event::EventKind,
        ids::{JobId, Lease, Tenant, WorkerId},
        job::{AttemptOutcome, DeadReason, Delivery, JobError, Kind, Priority, Status},
        origin::Origin,
        spent::UsageTotal,
    },
    queue::{Deliveries, Fenced, Finish, Release, Result, Watch, WorkerInfo, history::Span},
};

/// Jobs found dead of their deadline in one fetch at most; housekeeping sees to the others.
const BURIED: usize = 100;

#[async_trait]
impl Deliveries for SqliteJobStore {
    async fn heartbeat(&self, worker: &WorkerInfo) -> Result<()> {
        let (id, info) = (worker.id.clone(), rows::to_json(worker)?);
        self.writer
            .call(Durability::Written, move |step| {
                // What it fetched before it lived was nothing, and nothing else may wake it for what waits.
                if step.one(sql::WORKER_LIVE, params![id.as_str(), step.now.0], |_| Ok(()))?.is_none() {
                    for kind in Kind::ALL {
                        step.work(*kind);
                    }
                }
                let lease_until = step.now.plus(step.options.lease);
                step.execute(sql::HEARTBEAT, params![id.as_str(), info, step.now.0, lease_until.0])?;
                Ok(())
            })
            .await
    }

    async fn fetch(&self, worker: &WorkerId, kind: Kind, max: usize) -> Result<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let id = worker.clone();
        let handed = self.writer.call(Durability::Written, move |step| fetch(step, &id, kind, max)).await?;
        Ok(self.handed_over(handed, worker, kind))
    }

    async fn fetch_deletions(&self, worker: &WorkerId, max: usize) -> Result<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let id = worker.clone();
        let handed = self.writer.call(Durability::Written, move |step| fetch_deletions(step, &id, max)).await?;
        Ok(self.handed_over(handed, worker, Kind::Ingest))
    }

    async fn wait_for_work(&self, kind: Kind) {
        self.shared.work[kind as usize].notified().await;
    }

    fn watch_delivery(&self, lease: &Lease) -> Watch {
        self.shared.watchers.watch(lease.job)
    }

    async fn holds(&self, lease: &Lease) -> Result<bool> {
        let lease = lease.clone();
        self.writer.call(Durability::Written, move |step| Ok(held(step, &lease)?.is_some())).await
    }

    async fn upload(&self, job: JobId) -> Result<Option<Vec<u8>>> {
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::UPLOAD)?;
                let mut found = statement.query([job.to_string()])?;
                found.next()?.map(|row| row.get(0)).transpose()
            })
            .await
    }

    async fn save_context(&self, lease: &Lease, context: &Context) -> Result<Fenced> {
        let (lease, stored) = (lease.clone(), rows::to_json(context)?);
        let numbered = context.passages.iter().enumerate();
        let citations = numbered.map(|(index, passage)| Citation::of(index + 1, passage)).collect();
        let event = EventKind::Passages { citations };
        self.writer
            .call(Durability::Written, move |step| {
                let Some(row) = held(step, &lease)? else { return Ok(Fenced::Stale) };
                step.execute(sql::CONTEXT_SAVE, params![row.job, stored])?;
                step.event(row.job, row.attempt, &event)?;
                step.changed(row.id, Status::Running);
                Ok(Fenced::Applied(()))
            })
            .await
    }

    async fn append_delta(&self, lease: &Lease, text: String) -> Result<Fenced<bool>> {
        let data = rows::to_json(&EventKind::Delta { text })?;
        let (job, held) = (lease.job, lease.clone());
        let written = self
            .writer
            .call(Durability::Written, move |step| {
                let params = params![held.job.to_string(), held.worker.as_str(), held.delivery as i64, data];
                let written = step.execute(sql::DELTA, params)? > 0;
                if written {
                    step.changed(held.job, Status::Running);
                }
                Ok(written)
            })
            .await?;
        Ok(if written { Fenced::Applied(self.read_marks.is_read(job, self.shared.clock.now())) } else { Fenced::Stale })
    }

    async fn finish(&self, lease: &Lease, finish: Finish, cost: UsageTotal) -> Result<Fenced> {
        let lease = lease.clone();
        let result = match &finish {
            Finish::Completed { result, .. } => rows::to_json(result)?,
            Finish::Dead { .. } => String::new(),
        };
        self.writer
            .call(Durability::Synced, move |step| {
                let Some(row) = held(step, &lease)? else { return Ok(Fenced::Stale) };
                match &finish {
                    Finish::Completed { document, turn, .. } => {
                        if let Some(document) = document
                            && !documents::commit(step, &row, document)?
                        {
                            return Ok(Fenced::Stale);
                        }
                        step.end(&row, row.attempt, &Ending::Completed(&result))?;
                        if let (Some(turn), Some(conversation_id)) = (turn, &row.conversation_id) {
                            let (tenant, now) = (row.tenant.as_str(), step.now.0);
                            let params = params![row.job, tenant, conversation_id, now, turn.question, turn.answer];
                            step.execute(sql::END_TURN, params)?;
                        }
                    }
                    Finish::Dead { reason, error } => die(step, &row, *reason, error)?,
                }
                add_cost(step, lease.job, cost)?;
                Ok(Fenced::Applied(()))
            })
            .await
    }

    async fn release(&self, lease: &Lease, release: Release, cost: UsageTotal) -> Result<Fenced> {
        let lease = lease.clone();
        self.writer
            .call(Durability::Written, move |step| {
                let Some(row) = held(step, &lease)? else { return Ok(Fenced::Stale) };
                match &release {
                    // The worker decides that a job's last attempt was its last; this only makes sure.
                    Release::Retry { error, .. } if row.attempt >= row.max_attempts => {
                        die(step, &row, DeadReason::AttemptsExhausted, error)?;
                    }
                    Release::Retry { after, error } => wait(step, &row, *after, error, AttemptOutcome::Retried)?,
                    Release::Defer { after, error } => wait(step, &row, *after, error, AttemptOutcome::Deferred)?,
                    Release::HandBack => step.hand_back(&row)?,
                }
                add_cost(step, lease.job, cost)?;
                Ok(Fenced::Applied(()))
            })
            .await
    }

    async fn spend(&self, lease: &Lease, cost: UsageTotal) -> Result<()> {
        let job = lease.job;
        self.writer.call(Durability::Written, move |step| add_cost(step, job, cost)).await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        let worker = worker.clone();
        self.writer
            .call(Durability::Written, move |step| {
                for row in step.all(sql::FIND_HELD, params![worker.as_str(), i64::MAX], Row::read)? {
                    step.hand_back(&row)?;
                }
                step.execute(sql::WORKER_FORGET, [worker.as_str()])?;
                Ok(())
            })
            .await
    }

    async fn turns(&self, tenant: &Tenant, conversation_id: &str, limit: usize) -> Result<Vec<Turn>> {
        let (tenant, conversation_id) = (tenant.clone(), conversation_id.to_owned());
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::TURNS)?;
                let params = params![tenant.as_str(), conversation_id, limit as i64];
                let newest_first =
                    statement.query_map(params, |row| Ok(Turn { question: row.get(0)?, answer: row.get(1)? }))?;
                let mut turns = newest_first.collect::<rusqlite::Result<Vec<_>>>()?;
                turns.reverse();
                Ok(turns)
            })
            .await
    }
}

impl SqliteJobStore {
    fn handed_over(&self, handed: Vec<Handed>, worker: &WorkerId, kind: Kind) -> Vec<Delivery> {
        for handed in &handed {
            self.shared.counts.took(kind, Span::Wait, handed.delivered_at.since(handed.queued_at));
        }
        handed.into_iter().map(|handed| handed.decode(worker, kind)).collect()
    }
}

/// Adds what calls to model providers cost to a job's record.
fn add_cost(step: &Step<'_>, job: JobId, cost: UsageTotal) -> rusqlite::Result<()> {
    if cost.calls > 0 {
        let UsageTotal { calls, prompt_tokens, completion_tokens, wasted_tokens } = cost;
        let tokens = [prompt_tokens, completion_tokens, wasted_tokens].map(|tokens| tokens as i64);
        step.execute(sql::SPEND, params![job.to_string(), calls as i64, tokens[0], tokens[1], tokens[2]])?;
    }
    Ok(())
}

/// The fence: the job, if the lease is still its own.
pub(super) fn held(step: &Step<'_>, lease: &Lease) -> rusqlite::Result<Option<Row>> {
    let params = params![lease.job.to_string(), lease.worker.as_str(), lease.delivery as i64];
    step.one(sql::FIND_BY_LEASE, params, Row::read)
}

/// Makes a running job a dead letter; the attempt it died of is used.
fn die(step: &mut Step<'_>, row: &Row, reason: DeadReason, error: &JobError) -> rusqlite::Result<()> {
    let error = JobError { retry_at: None, ..error.clone() };
    step.attempt(row, AttemptOutcome::Died, Some(&error))?;
    step.end(row, row.attempt, &Ending::Dead(reason, &error))
}

/// Makes a running job wait: not beyond its deadline, at which it dies.
fn wait(
    step: &mut Step<'_>,
    row: &Row,
    after: Duration,
    error: &JobError,
    outcome: AttemptOutcome,
) -> rusqlite::Result<()> {
    let due = step.now.plus(after);
    let due = row.deadline_at.map_or(due, |deadline| due.min(deadline));
    let error = JobError { retry_at: Some(due), ..error.clone() };
    let deferred = outcome == AttemptOutcome::Deferred;
    step.attempt(row, outcome, Some(&error))?;
    let JobError { code, message, .. } = error.clone();
    let (attempt, deferrals, event) = if deferred {
        (row.uncounted(), row.deferrals + 1, EventKind::Deferred { code, message, retry_at: due })
    } else {
        (row.attempt, row.deferrals, EventKind::Retrying { code, message, retry_at: due })
    };
    schedule(step, row, due, attempt, deferrals, Some(&rows::to_json(&error)?))?;
    step.event(row.job, row.attempt, &event)
}

/// Makes a running job wait for its time.
pub(super) fn schedule(
    step: &mut Step<'_>,
    row: &Row,
    due: Timestamp,
    attempt: u32,
    deferrals: u32,
    error: Option<&str>,
) -> rusqlite::Result<()> {
    step.execute(sql::SCHEDULE, params![row.job, due.0, attempt, deferrals, error])?;
    step.state.totals.moved(Some(row.status), Some(Status::Scheduled), row.bytes);
    step.changed(row.id, Status::Scheduled);
    Ok(())
}

/// A job handed over, as read: decoded outside the writer.
struct Handed {
    id: JobId,
    tenant: Tenant,
    payload: String,
    attempt: u32,
    max_attempts: u32,
    deferrals: u32,
    created_at: Timestamp,
    queued_at: Timestamp,
    delivered_at: Timestamp,
    remaining: Option<Duration>,
    conversation_id: Option<String>,
    origin: Origin,
    delivery: u64,
    context: Option<String>,
    change: Option<String>,
}

impl Handed {
    /// Never fails: the whole batch is handed over by now, and an error would leave all of it running with
    /// nobody at work on it. What can't be read is missing, and the worker buries that one job.
    fn decode(self, worker: &WorkerId, kind: Kind) -> Delivery {
        Delivery {
            lease: Lease { job: self.id, worker: worker.clone(), delivery: self.delivery },
            tenant: self.tenant,
            kind,
            payload: rows::payload(self.payload),
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            deferrals: self.deferrals,
            created_at: self.created_at,
            queued_at: self.queued_at,
            delivered_at: self.delivered_at,
            remaining: self.remaining,
            // A context of an older form is only work to be done again.
            context: self.context.and_then(|context| serde_json::from_str(&context).ok()),
            conversation_id: self.conversation_id,
            document: self.change.and_then(|change| serde_json::from_str(&change).ok()),
            origin: self.origin,
        }
    }
}

/// Whether the worker may be given jobs of the kind. One without a lease would be robbed of them: it has to beat first.
fn may_take(step: &Step<'_>, worker: &WorkerId, kind: Kind) -> rusqlite::Result<bool> {
    let live = step.one(sql::WORKER_LIVE, params![worker.as_str(), step.now.0], |_| Ok(()))?.is_some();
    Ok(live && !step.state.is_paused(kind))
}

fn fetch_deletions(step: &mut Step<'_>, worker: &WorkerId, max: usize) -> rusqlite::Result<Vec<Handed>> {
    let mut handed = Vec::new();
    if may_take(step, worker, Kind::Ingest)? {
        let head = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, rows::time_or_none(row, 1)?));
        for (job, deadline_at) in step.all(sql::FETCH_DELETIONS, [max as i64], head)? {
            // Those that are late are buried by housekeeping.
            if deadline_at.is_none_or(|deadline: Timestamp| deadline > step.now) {
                handed.extend(deliver(step, job, worker, Kind::Ingest)?);
            }
        }
    }
    Ok(handed)
}

fn fetch(step: &mut Step<'_>, worker: &WorkerId, kind: Kind, max: usize) -> rusqlite::Result<Vec<Handed>> {
    let mut handed = Vec::new();
    if !may_take(step, worker, kind)? {
        return Ok(handed);
    }
    let mut buried = 0;
    while handed.len() < max && buried < BURIED {
        let mut heads = Priority::ALL
            .iter()
            .map(|priority| {
                let params = params![kind.as_str(), priority.as_str(), (max - handed.len()) as i64];
                let head = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, rows::time_or_none(row, 1)?));
                step.all(sql::FETCH_HEADS, params, head).map(VecDeque::from)
            })
            .collect::<rusqlite::Result<Vec<VecDeque<(i64, Option<Timestamp>)>>>>()?;
        if heads.iter().all(VecDeque::is_empty) {
            return Ok(handed);
        }
        while handed.len() < max {
            let waiting = [0, 1, 2].map(|index: usize| !heads[index].is_empty());
            let Some(priority) = step.state.take_turn(kind, waiting) else { break };
            let Some((job, deadline_at)) = heads[priority as usize].pop_front() else { break };
            if deadline_at.is_some_and(|deadline| deadline <= step.now) {
                if let Some(row) = step.one(sql::FIND_BY_NUMBER, [job], Row::read)? {
                    step.deadline_passed(&row)?;
                    buried += 1;
                }
            } else if let Some(delivery) = deliver(step, job, worker, kind)? {
                handed.push(delivery);
            }
        }
    }
    // Handed on: another worker that waits may have room for what is left.
    if step.one(sql::FETCH_MORE, [kind.as_str()], |_| Ok(()))?.is_some() {
        step.work(kind);
    }
    Ok(handed)
}

fn deliver(step: &mut Step<'_>, job: i64, worker: &WorkerId, kind: Kind) -> rusqlite::Result<Option<Handed>> {
    let now = step.now;
    let delivered = step.one(sql::FETCH_DELIVER, params![job, worker.as_str(), now.0], |row| {
        Ok(Handed {
            id: rows::word(row, 0)?,
            tenant: rows::name(row, 1)?,
            payload: row.get(2)?,
            attempt: row.get(3)?,
            max_attempts: row.get(4)?,
            deferrals: row.get(5)?,
            created_at: rows::time(row, 6)?,
            remaining: rows::time_or_none(row, 7)?.map(|deadline| deadline.since(now)),
            conversation_id: row.get(8)?,
            origin: rows::origin(row, 12, 9)?,
            delivery: row.get::<_, i64>(10)? as u64,
            queued_at: rows::time_or_none(row, 11)?.unwrap_or(now),
            delivered_at: now,
            context: None,
            change: None,
        })
    })?;
    let Some(mut handed) = delivered else { return Ok(None) };
    if handed.delivery > 1 {
        handed.context = step.one(sql::FETCH_CONTEXT, [job], |row| row.get(0))?;
    }
    if kind == Kind::Ingest {
        handed.change = step.one(sql::FETCH_CHANGE, [job], |row| row.get(0))?;
    }
    step.event(job, handed.attempt, &EventKind::Started { worker: worker.clone() })?;
    step.state.totals.moved(Some(Status::Queued), Some(Status::Running), 0);
    step.changed(handed.id, Status::Running);
    Ok(Some(handed))
}
