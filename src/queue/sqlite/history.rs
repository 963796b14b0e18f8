//! The history: what this process counted is written now and then, in a step of its own.

use std::{collections::HashMap, error::Error, time::Duration};

use super::{SqliteJobStore, rows, sql, writer::Durability};
use crate::{
    domain::{
        clock::Timestamp,
        job::{Kind, Status},
    },
    queue::{
        Result,
        history::{INTERVAL, KEPT, StoredInterval},
    },
};
use rusqlite::params;

/// The beginning of the interval that an instant is in.
pub(super) fn interval_of(now: Timestamp) -> i64 {
    let length = INTERVAL.as_millis() as i64;
    now.0 - now.0.rem_euclid(length)
}

impl SqliteJobStore {
    /// Writes what was counted, if it is time to. A failure is no more than a gap in a chart until the next time.
    pub(super) async fn tell_history_if_due(&self) {
        if self.told.is_due(self.shared.clock.now())
            && let Err(error) = self.tell_history().await
        {
            tracing::warn!(error = &error as &dyn Error, "the history could not be written");
        }
    }

    /// Writes what was counted. What could not be written is the next time.
    pub(super) async fn tell_history(&self) -> Result<()> {
        // Read beside the writer: there may be a million of them.
        let levels = self.readers.read(levels).await?;
        let counts = self.shared.counts.take();
        let (names, numbers) = (counts.clone(), levels);
        let told = self.writer.call(Durability::Written, move |step| {
            let at = interval_of(step.now);
            for (name, count) in &names {
                step.execute(sql::HISTORY_ADD, params![at, name, *count as i64])?;
            }
            for (name, number) in &numbers {
                step.execute(sql::HISTORY_SET, params![at, name, number])?;
            }
            step.execute(sql::HISTORY_EXPIRE, [at - KEPT.as_millis() as i64])?;
            Ok(())
        });
        told.await.inspect_err(|_| self.shared.counts.give_back(&counts))
    }

    /// The intervals of the last minutes.
    pub(super) async fn read_history(&self, minutes: u64) -> Result<Vec<StoredInterval>> {
        let length = INTERVAL.as_millis() as i64;
        let since = interval_of(self.shared.clock.now()) + length - Duration::from_mins(minutes).as_millis() as i64;
        self.readers
            .read(move |connection| {
                let mut intervals: Vec<StoredInterval> = Vec::new();
                let mut statement = connection.prepare_cached(sql::HISTORY)?;
                let mut found = statement.query([since])?;
                while let Some(row) = found.next()? {
                    let at = rows::time(row, 0)?;
                    if intervals.last().is_none_or(|last| last.at != at) {
                        intervals.push(StoredInterval { at, numbers: HashMap::new() });
                    }
                    if let Some(last) = intervals.last_mut() {
                        last.numbers.insert(row.get(1)?, row.get::<_, i64>(2)? as u64);
                    }
                }
                Ok(intervals)
            })
            .await
    }
}

/// How many jobs there are, by the names of the history.
fn levels(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    let unfinished = [Status::Queued, Status::Scheduled, Status::Running];
    let levels = Kind::ALL.iter().flat_map(|kind| unfinished.map(|status| (*kind, status)));
    let mut numbers: HashMap<String, i64> = levels.map(|(kind, status)| (format!("{kind}:{status}"), 0)).collect();
    let mut statement = connection.prepare_cached(sql::STATS_KINDS)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (status, kind): (Status, Kind) = (rows::word(row, 0)?, rows::word(row, 1)?);
        numbers.insert(format!("{kind}:{status}"), row.get(2)?);
    }
    Ok(numbers.into_iter().collect())
}
