//! What jobs of kind `replay` need: counting letters, putting them back in steps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteJobStore, deliveries::held, operations::replay, rows, rows::Row, sql, step::Step, writer::Durability,
};
use crate::{
    domain::{
        clock::Timestamp,
        event::EventKind,
        failure::Code,
        ids::Lease,
        job::{DeadReason, Kind, Status},
        replay::{ReplayOrder, ReplayTally, Selection},
    },
    queue::{Fenced, ReplayStep, Replays, Result},
};

/// Letters put back, and letters looked at, in one step at most: a submit hardly waits for one.
const TOGETHER: usize = 100;

/// Sorts after every id.
const LAST_ID: &str = "~";

#[async_trait]
impl Replays for SqliteJobStore {
    async fn count_letters(&self, selection: &Selection) -> Result<(u64, Timestamp)> {
        let (selection, now) = (selection.clone(), self.shared.clock.now());
        let count = self.readers.read(move |connection| count(connection, &selection)).await?;
        Ok((count, now))
    }

    async fn replay_letters(
        &self,
        lease: &Lease,
        order: &ReplayOrder,
        step: ReplayStep,
    ) -> Result<Fenced<ReplayTally>> {
        let (lease, order, asked) = (lease.clone(), order.clone(), step);
        self.writer
            .call(Durability::Synced, move |step| {
                let Some(row) = held(step, &lease)? else { return Ok(Fenced::Stale) };
                let mut record = match Record::read(step.connection, row.job)? {
                    Some(record) => record,
                    None => Record::begin(step, row.job, &order)?,
                };
                record.look(step, row.job)?;
                let room = order.matched.saturating_sub(record.tally.replayed).min(asked.max.min(TOGETHER) as u64);
                if room > 0 {
                    record.put_back(step, row.job, &order, room as usize)?;
                }
                record.tally.exhausted |= record.tally.replayed >= order.matched;
                record.save(step, row.job)?;
                let tally = record.tally;
                if asked.tell {
                    step.event(row.job, row.attempt, &EventKind::Progress { progress: tally.progress() })?;
                }
                step.changed(row.id, Status::Running);
                Ok(Fenced::Applied(tally))
            })
            .await
    }
}

fn words(selection: &Selection) -> [Option<&'static str>; 3] {
    [selection.reason.map(DeadReason::as_str), selection.code.map(Code::as_str), selection.kind.map(Kind::as_str)]
}

fn count(connection: &Connection, selection: &Selection) -> rusqlite::Result<u64> {
    let [reason, code, kind] = words(selection);
    let Some(ids) = &selection.ids else {
        let mut statement = connection.prepare_cached(sql::LETTERS_COUNT)?;
        return statement.query_row([reason, code, kind], |row| row.get::<_, i64>(0)).map(|count| count as u64);
    };
    let mut statement = connection.prepare_cached(sql::LETTER)?;
    let mut count = 0;
    for id in ids {
        count += u64::from(statement.exists(params![reason, code, kind, id.to_string()])?);
    }
    Ok(count)
}

/// How far a replay has come, as another would have to know it to go on.
#[derive(Default)]
pub(super) struct Record {
    pub(super) tally: ReplayTally,
    codes: BTreeMap<String, u64>,
    at: Timestamp,
    id: String,
    seen: usize,
    looked: i64,
}

impl Record {
    fn begin(step: &Step<'_>, job: i64, order: &ReplayOrder) -> rusqlite::Result<Self> {
        let tally = ReplayTally { matched: order.matched, ..ReplayTally::default() };
        let record = Self { tally, at: order.dead_by, id: LAST_ID.to_owned(), ..Self::default() };
        record.save(step, job)?;
        Ok(record)
    }

    /// None: it has not begun.
    pub(super) fn read(connection: &Connection, job: i64) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(sql::REPLAY_TALLY)?;
        let read = |row: &rusqlite::Row<'_>| {
            let number = |column| row.get::<_, i64>(column).map(|number| number as u64);
            let codes: BTreeMap<String, u64> = rows::json(row, 4)?;
            let tally = ReplayTally {
                matched: number(0)?,
                replayed: number(1)?,
                just_replayed: 0,
                ended: number(2)?,
                failed_again: number(3)?,
                same_code: codes.values().copied().max().unwrap_or(0),
                exhausted: row.get(5)?,
            };
            let (at, id, seen) = (rows::time(row, 6)?, row.get(7)?, number(8)? as usize);
            Ok(Self { tally, codes, at, id, seen, looked: row.get(9)? })
        };
        statement.query_row([job], read).optional()
    }

    fn save(&self, step: &Step<'_>, job: i64) -> rusqlite::Result<()> {
        let ReplayTally { matched, replayed, ended, failed_again, exhausted, just_replayed: _, same_code: _ } =
            self.tally;
        let [matched, replayed, ended, failed_again] = [matched, replayed, ended, failed_again].map(|n| n as i64);
        let (codes, at, seen) = (rows::to_json(&self.codes)?, self.at.0, self.seen as i64);
        let params =
            params![job, matched, replayed, ended, failed_again, codes, exhausted, at, self.id, seen, self.looked];
        step.execute(sql::REPLAY_TALLY_SAVE, params)?;
        Ok(())
    }

    /// Looks at some of the letters that were put back and not seen to end; the next look goes on from there.
    fn look(&mut self, step: &Step<'_>, job: i64) -> rusqlite::Result<()> {
        let params = params![job, self.looked, TOGETHER as i64];
        let waiting = step.all(sql::REPLAY_WAITING, params, |row| {
            let status = row.get::<_, Option<String>>(1)?.and_then(|word| word.parse::<Status>().ok());
            Ok((row.get::<_, i64>(0)?, status, row.get::<_, Option<String>>(2)?))
        })?;
        self.looked = if waiting.len() < TOGETHER { 0 } else { waiting.last().map_or(0, |(letter, ..)| *letter) };
        for (letter, status, code) in waiting {
            if status.is_some_and(|status| !status.is_final()) {
                continue;
            }
            step.execute(sql::REPLAY_SAW_END, params![job, letter])?;
            self.tally.ended += 1;
            if status == Some(Status::Dead) {
                self.tally.failed_again += 1;
                let same = self.codes.entry(code.unwrap_or_default()).or_default();
                *same += 1;
                self.tally.same_code = self.tally.same_code.max(*same);
            }
        }
        Ok(())
    }

    fn put_back(&mut self, step: &mut Step<'_>, job: i64, order: &ReplayOrder, room: usize) -> rusqlite::Result<()> {
        let [reason, code, kind] = words(&order.selection);
        let read = |row: &rusqlite::Row<'_>| Ok((Row::read(row)?, rows::time(row, 19)?));
        let mut letters = Vec::new();
        if let Some(ids) = &order.selection.ids {
            for id in ids.iter().skip(self.seen).take(room) {
                let letter = step.one(sql::LETTER, params![reason, code, kind, id.to_string()], read)?;
                letters.extend(letter.filter(|(_, dead_at)| *dead_at <= order.dead_by));
                self.seen += 1;
            }
            self.tally.exhausted = self.seen >= ids.len();
        } else {
            letters = step.all(sql::LETTERS, params![reason, code, kind, self.at.0, self.id, room as i64], read)?;
            self.tally.exhausted = letters.len() < room;
        }
        for (row, dead_at) in letters {
            (self.at, self.id) = (dead_at, row.id.to_string());
            replay(step, &row, None)?;
            step.execute(sql::REPLAY_WAITS, params![job, row.job])?;
            self.tally.replayed += 1;
            self.tally.just_replayed += 1;
        }
        Ok(())
    }
}
