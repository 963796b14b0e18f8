//! The ground every writing operation stands on: its transaction, the state in memory, the present instant,
//! and what the world is to be told once the transaction is committed. Here are the changes of a job that
//! several operations share: queue it, end it, write to its log.

use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, params};
use serde_json::Value;

use super::{
    Shared, SqliteOptions, documents,
    history::interval_of,
    rows::{Row, to_json},
    sql,
    state::State,
};
use crate::{
    domain::{
        clock::Timestamp,
        event::EventKind,
        failure::Code,
        ids::JobId,
        job::{AttemptOutcome, DeadReason, JobError, Kind, Status},
    },
    queue::{
        Cell,
        history::{Flow, flow_name},
    },
};

/// What is told after the commit.
#[derive(Debug, Default)]
pub(super) struct Effects {
    changed: Vec<(JobId, Status)>,
    cells: Vec<(String, Cell)>,
    work: [bool; 3],
}

impl Effects {
    /// Tells watchers of changed jobs and cells and wakes who waits for work.
    pub(super) fn publish(self, shared: &Shared) {
        for (job, status) in self.changed {
            shared.watchers.changed(job, status);
        }
        for (name, cell) in self.cells {
            shared.cells.changed(&name, cell);
        }
        for kind in Kind::ALL {
            if self.work[*kind as usize] {
                shared.work[*kind as usize].notify_one();
            }
        }
    }
}

/// One operation's view of its transaction.
pub(super) struct Step<'a> {
    pub(super) connection: &'a Connection,
    pub(super) state: &'a mut State,
    pub(super) effects: &'a mut Effects,
    pub(super) options: &'a SqliteOptions,
    pub(super) now: Timestamp,
}

/// How a job becomes final.
pub(super) enum Ending<'a> {
    /// With a result (JSON).
    Completed(&'a str),
    /// As a dead letter.
    Dead(DeadReason, &'a JobError),
    /// Called off.
    Cancelled,
}

impl Step<'_> {
    /// Executes a statement; how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// The first row of a statement, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&SqlRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.connection.prepare_cached(sql)?.query_row(params, read).optional()
    }

    /// All rows of a statement.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection.prepare_cached(sql)?.query_map(params, read)?.collect()
    }

    /// After the commit: the cell changed.
    pub(super) fn cell(&mut self, name: &str, cell: &Cell) {
        self.effects.cells.push((name.to_owned(), cell.clone()));
    }

    /// After the commit: the job's status or log changed.
    pub(super) fn changed(&mut self, job: JobId, status: Status) {
        self.effects.changed.push((job, status));
    }

    /// After the commit: a job of the kind may be taken.
    pub(super) fn work(&mut self, kind: Kind) {
        self.effects.work[kind as usize] = true;
    }

    /// Writes the next event of the job's log.
    pub(super) fn event(&self, job: i64, attempt: u32, event: &EventKind) -> rusqlite::Result<()> {
        let data = match event {
            // The result stands in the job's row; the log's reader takes it from there.
            EventKind::Completed { .. } => None,
            EventKind::Created {}
            | EventKind::Started { .. }
            | EventKind::Passages { .. }
            | EventKind::Delta { .. }
            | EventKind::Progress { .. }
            | EventKind::Deferred { .. }
            | EventKind::Retrying { .. }
            | EventKind::Dead { .. }
            | EventKind::Cancelled {}
            | EventKind::Replayed {}
            | EventKind::Unknown => Some(to_json(event)?),
        };
        self.execute(sql::EVENT, params![job, attempt, data])?;
        Ok(())
    }

    /// Notes that the running delivery failed or was lost.
    pub(super) fn attempt(&self, row: &Row, outcome: AttemptOutcome, error: Option<&JobError>) -> rusqlite::Result<()> {
        let error = error.map(to_json).transpose()?;
        let (worker, started_at) = (row.worker.as_deref().unwrap_or_default(), row.started_at.unwrap_or(self.now));
        self.execute(
            sql::ATTEMPT,
            params![row.job, row.delivery, row.attempt, worker, started_at.0, self.now.0, outcome.as_str(), error],
        )?;
        Ok(())
    }

    /// Makes a job queued at a place of its list, with these counters.
    pub(super) fn queue(&mut self, row: &Row, place: i64, attempt: u32, lost_leases: u32) -> rusqlite::Result<()> {
        self.execute(sql::QUEUE, params![row.job, place, self.now.0, attempt, lost_leases])?;
        self.state.totals.moved(Some(row.status), Some(Status::Queued), row.bytes);
        self.changed(row.id, Status::Queued);
        self.work(row.kind);
        Ok(())
    }

    /// Hands a running job back, as if it had not been delivered: it is the first of its list again.
    pub(super) fn hand_back(&mut self, row: &Row) -> rusqlite::Result<()> {
        self.queue(row, row.place, row.uncounted(), row.lost_leases)
    }

    /// Makes a job final, with all that follows: log, document, what need not be kept any longer.
    pub(super) fn end(&mut self, row: &Row, attempt: u32, ending: &Ending<'_>) -> rusqlite::Result<()> {
        let (status, reason, error, result) = match ending {
            Ending::Completed(result) => (Status::Completed, None, None, Some(*result)),
            Ending::Dead(reason, error) => (Status::Dead, Some(*reason), Some(*error), None),
            Ending::Cancelled => (Status::Cancelled, None, None, None),
        };
        let error_json = match error {
            Some(error) => Some(to_json(error)?),
            // What went wrong before a job was called off may still be of interest.
            None if status == Status::Cancelled => row.error.clone(),
            None => None,
        };
        self.execute(
            sql::END,
            params![
                row.job,
                status.as_str(),
                self.now.0,
                attempt,
                row.lost_leases,
                reason.map(DeadReason::as_str),
                error.map(|error| error.code.as_str()),
                error_json,
                result
            ],
        )?;
        let event = match ending {
            Ending::Completed(_) => EventKind::Completed { result: Value::Null },
            Ending::Dead(_, error) => EventKind::Dead { error: (*error).clone() },
            Ending::Cancelled => EventKind::Cancelled {},
        };
        self.event(row.job, row.attempt, &event)?;
        self.execute(sql::END_CONTEXT, [row.job])?;
        if row.kind == Kind::Ingest {
            documents::job_ended(self, row, status, error_json.as_deref())?;
            // A dead ingestion can be replayed, which needs its upload.
            if status != Status::Dead {
                self.execute(sql::END_UPLOAD, [row.job])?;
            }
        }
        if row.kind == Kind::Replay {
            self.execute(sql::REPLAY_ENDED, [row.job])?;
        }
        self.state.totals.moved(Some(row.status), Some(status), row.bytes);
        self.state.ended(self.now);
        self.changed(row.id, status);
        Ok(())
    }

    /// Counts in the history what no process knows of but this store.
    fn note_flow(&self, kind: Kind, flow: Flow) -> rusqlite::Result<()> {
        self.execute(sql::HISTORY_ADD, params![interval_of(self.now), flow_name(kind, flow), 1])?;
        Ok(())
    }

    /// Cancels a job that is not final.
    pub(super) fn cancel(&mut self, row: &Row) -> rusqlite::Result<()> {
        self.note_flow(row.kind, Flow::Cancelled)?;
        self.end(row, row.attempt, &Ending::Cancelled)
    }

    /// Buries a waiting job whose deadline has passed.
    pub(super) fn deadline_passed(&mut self, row: &Row) -> rusqlite::Result<()> {
        self.note_flow(row.kind, Flow::Dead)?;
        let last = row.error.as_deref().and_then(|json| serde_json::from_str::<JobError>(json).ok());
        let message = match last {
            Some(last) => format!("the job was not done by its deadline; its last failure: {}", last.message),
            None => "the job was not done by its deadline".to_owned(),
        };
        let code = Code::DeadlineExceeded;
        let error = JobError { code, message, class: code.class(), retry_at: None };
        self.state.losses.deadlines.add(row.kind, 1);
        self.end(row, row.attempt, &Ending::Dead(DeadReason::DeadlineExceeded, &error))
    }

    /// Takes a running job back from a worker that fell silent: lost too often, it is poison.
    pub(super) fn take_back(&mut self, row: &Row) -> rusqlite::Result<()> {
        self.attempt(row, AttemptOutcome::LeaseLost, None)?;
        self.state.losses.leases += 1;
        let lost_leases = row.lost_leases + 1;
        if lost_leases < self.options.max_lost_leases {
            return self.queue(row, row.place, row.uncounted(), lost_leases);
        }
        self.state.losses.poisoned.add(row.kind, 1);
        self.note_flow(row.kind, Flow::Dead)?;
        let code = Code::Poison;
        let message = format!("its worker was lost {lost_leases} times while it ran");
        let error = JobError { code, message, class: code.class(), retry_at: None };
        let row = Row { lost_leases, ..row.clone() };
        self.end(&row, row.uncounted(), &Ending::Dead(DeadReason::Poison, &error))
    }
}
