//! Housekeeping, in steps small enough that a submit hardly waits for one.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use super::{SqliteJobStore, operations, rows, rows::Row, sql, state::Losses, step::Step, writer::Durability};
use crate::queue::{Maintenance, Result, Upkeep, history::Counts};

/// Rows changed in one step.
const STEP: usize = 100;

/// Steps of one kind in one round: 1,000 rows.
const STEPS: usize = 10;

#[async_trait]
impl Maintenance for SqliteJobStore {
    async fn upkeep(&self) -> Result<Upkeep> {
        let lease = self.shared.options.lease;
        let may = move |step: &mut Step<'_>| Ok(step.state.may_take_back(step.now, lease));
        if self.writer.call(Durability::Written, may).await? {
            self.in_steps(take_back_expired).await?;
        }
        self.in_steps(bury).await?;
        let promoted = self.in_steps(promote).await?;
        let expired = self.in_steps(expire).await?;
        let Losses { leases, poisoned, deadlines } =
            self.writer.call(Durability::Written, |step| Ok(std::mem::take(&mut step.state.losses))).await?;
        self.tell_history_if_due().await;
        let next_due = self.next_due().await?;
        Ok(Upkeep { promoted, leases_lost: leases, poisoned, deadlines, expired, next_due })
    }

    async fn ping(&self) -> Result<()> {
        self.writer.call(Durability::Written, |_| Ok(())).await
    }

    fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl SqliteJobStore {
    /// When the next scheduled job is due. Silent workers and deadlines need no thought: a round comes often enough.
    async fn next_due(&self) -> Result<Option<Duration>> {
        let now = self.shared.clock.now();
        self.readers
            .read(move |connection| {
                let due = connection.prepare_cached(sql::NEXT_DUE)?.query_row([], |row| rows::time_or_none(row, 0))?;
                Ok(due.map(|due| due.since(now)))
            })
            .await
    }

    /// Repeats a step until it finds less than its fill; sums up its counts.
    async fn in_steps(
        &self,
        run: impl Fn(&mut Step<'_>) -> rusqlite::Result<usize> + Clone + Send + Sync + 'static,
    ) -> Result<u64> {
        let mut sum = 0;
        for _ in 0..STEPS {
            let count = self.writer.call(Durability::Written, run.clone()).await?;
            sum += count as u64;
            if count < STEP {
                break;
            }
        }
        Ok(sum)
    }
}

/// Takes the jobs of silent workers back and forgets workers that hold none; how many jobs.
fn take_back_expired(step: &mut Step<'_>) -> rusqlite::Result<usize> {
    let workers = step.all(sql::WORKERS_SILENT, [step.now.0], |row| row.get::<_, String>(0))?;
    take_back(step, &workers, STEP)
}

/// Takes all leases back and ends all claims: none of the workers and sweeps known can still live.
pub(super) fn take_back_all(step: &mut Step<'_>) -> rusqlite::Result<()> {
    let workers = step.all(sql::WORKERS_ALL, [], |row| row.get::<_, String>(0))?;
    take_back(step, &workers, usize::MAX)?;
    step.execute(sql::CLAIMS_END, [])?;
    Ok(())
}

fn take_back(step: &mut Step<'_>, workers: &[String], limit: usize) -> rusqlite::Result<usize> {
    let mut taken_back = 0;
    for worker in workers {
        let room = i64::try_from(limit - taken_back).unwrap_or(i64::MAX);
        let held = step.all(sql::FIND_HELD, params![worker, room], Row::read)?;
        let all = (held.len() as i64) < room;
        for row in held {
            step.take_back(&row)?;
            taken_back += 1;
        }
        if !all {
            break;
        }
        step.execute(sql::WORKER_FORGET, [worker])?;
    }
    Ok(taken_back)
}

/// Buries waiting jobs whose deadline has passed.
fn bury(step: &mut Step<'_>) -> rusqlite::Result<usize> {
    let late = step.all(sql::FIND_PAST_DEADLINE, params![step.now.0, STEP as i64], Row::read)?;
    for row in &late {
        step.deadline_passed(row)?;
    }
    Ok(late.len())
}

/// Queues scheduled jobs whose time has come, at the back of their lists.
fn promote(step: &mut Step<'_>) -> rusqlite::Result<usize> {
    let due = step.all(sql::FIND_DUE, params![step.now.0, STEP as i64], Row::read)?;
    for row in &due {
        let place = step.state.next_place();
        step.queue(row, place, row.attempt, row.lost_leases)?;
    }
    Ok(due.len())
}

/// Removes jobs whose retention is over, and what is left of documents that are gone for as long.
fn expire(step: &mut Step<'_>) -> rusqlite::Result<usize> {
    let now = step.now.0;
    let before = |kept: Duration| now.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
    let (ended, dead) = (before(step.options.completed_retention), before(step.options.dead_retention));
    let mut expired = step.all(sql::FIND_EXPIRED_ENDED, params![ended, STEP as i64], Row::read)?;
    let room = STEP - expired.len();
    expired.extend(step.all(sql::FIND_EXPIRED_DEAD, params![dead, room as i64], Row::read)?);
    for row in &expired {
        operations::remove(step, row)?;
    }
    step.execute(sql::TOMBSTONES, params![ended, STEP as i64])?;
    step.execute(sql::AUDIT_EXPIRE, params![before(step.options.audit_retention), STEP as i64])?;
    Ok(expired.len())
}
