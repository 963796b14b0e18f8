//! What the writer keeps in memory beside the tables: totals, places, whose turn it is, how fast the
//! queue drains. Small and cloned before every transaction, so that a rollback takes it back too.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::sql;
use crate::{
    domain::{
        clock::Timestamp,
        job::{Kind, Priority, Status},
    },
    queue::{
        PerKind,
        share::{self, WEIGHTS},
    },
};

/// How far back the drain rate looks, in seconds.
const DRAIN_WINDOW: f64 = 30.0;

/// Jobs per status and the bytes of those that are not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    counts: [i64; 6],
    /// Bytes of payloads and uploads of jobs that are not final.
    pub(super) bytes: i64,
    /// The last place given out in any list.
    pub(super) place: i64,
}

impl Totals {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached(sql::TOTALS_READ)?.query_row([], |row| {
            let mut counts = [0; 6];
            for (index, count) in counts.iter_mut().enumerate() {
                *count = row.get(index)?;
            }
            Ok(Self { counts, bytes: row.get(6)?, place: row.get(7)? })
        })
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let [queued, scheduled, running, completed, dead, cancelled] = self.counts;
        connection
            .prepare_cached(sql::TOTALS_WRITE)?
            .execute(params![queued, scheduled, running, completed, dead, cancelled, self.bytes, self.place])?;
        Ok(())
    }

    pub(super) fn of(&self, status: Status) -> u64 {
        self.counts[status as usize].max(0) as u64
    }

    /// Jobs that are not final.
    pub(super) fn waiting(&self) -> u64 {
        self.of(Status::Queued) + self.of(Status::Scheduled) + self.of(Status::Running)
    }

    /// Notes that a job of so many bytes came, went, or changed its status.
    pub(super) fn moved(&mut self, from: Option<Status>, to: Option<Status>, bytes: i64) {
        if let Some(from) = from {
            self.counts[from as usize] -= 1;
            self.bytes -= if from.is_final() { 0 } else { bytes };
        }
        if let Some(to) = to {
            self.counts[to as usize] += 1;
            self.bytes += if to.is_final() { 0 } else { bytes };
        }
    }
}

/// How many jobs end per second, weighted towards the recent ones.
#[derive(Clone, Copy, Debug, Default)]
struct Drain {
    per_second: f64,
    at: Timestamp,
}

impl Drain {
    fn now(&self, now: Timestamp) -> f64 {
        self.per_second * (-now.since(self.at).as_secs_f64() / DRAIN_WINDOW).exp()
    }
}

/// Keeps leases from being taken back right after a stall, when every lease looks expired because nobody
/// could beat: after a silence of half a lease, workers get half a lease to be heard of again.
#[derive(Clone, Copy, Debug, Default)]
struct Reaper {
    last: Option<Timestamp>,
    hold_until: Option<Timestamp>,
}

/// What befell jobs without anybody asking for it since the last round of housekeeping.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub(super) leases: u64,
    pub(super) poisoned: PerKind,
    pub(super) deadlines: PerKind,
}

/// The writer's memory.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) totals: Totals,
    pub(super) losses: Losses,
    paused: [bool; 3],
    rotation: [[i64; 3]; 3],
    drain: Drain,
    reaper: Reaper,
}

impl State {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut state = Self {
            totals: Totals::read(connection)?,
            losses: Losses::default(),
            paused: [false; 3],
            rotation: [[0; 3]; 3],
            drain: Drain::default(),
            reaper: Reaper::default(),
        };
        let mut statement = connection.prepare(sql::PAUSED)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.set_paused(super::rows::word(row, 0)?, true);
        }
        Ok(state)
    }

    pub(super) fn is_paused(&self, kind: Kind) -> bool {
        self.paused[kind as usize]
    }

    pub(super) fn set_paused(&mut self, kind: Kind, paused: bool) {
        self.paused[kind as usize] = paused;
    }

    /// A place behind all that were given out.
    pub(super) fn next_place(&mut self) -> i64 {
        self.totals.place += 1;
        self.totals.place
    }

    /// Whose turn it is among the priorities that have jobs waiting: smooth weighted round robin, so that
    /// low ones are spread evenly and an idle priority saves nothing up.
    pub(super) fn take_turn(&mut self, kind: Kind, waiting: [bool; 3]) -> Option<Priority> {
        let credit = &mut self.rotation[kind as usize];
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..3 {
            if !waiting[index] {
                credit[index] = 0;
                continue;
            }
            total += WEIGHTS[index];
            credit[index] += WEIGHTS[index];
            if best.is_none_or(|best| credit[index] > credit[best]) {
                best = Some(index);
            }
        }
        let best = best?;
        credit[best] -= total;
        Some(Priority::ALL[best])
    }

    /// Notes that a job became final.
    pub(super) fn ended(&mut self, now: Timestamp) {
        self.drain = Drain { per_second: self.drain.now(now) + 1.0 / DRAIN_WINDOW, at: now };
    }

    /// When a full queue may have room again.
    pub(super) fn retry_after(&self, now: Timestamp, max_jobs: u64) -> Duration {
        share::retry_after(self.drain.now(now), max_jobs)
    }

    /// Nothing could be written just now, so no worker could beat: leases hold for half a lease more.
    pub(super) fn hold_leases(&mut self, now: Timestamp, lease: Duration) {
        self.reaper = Reaper { last: Some(now), hold_until: Some(now.plus(lease / 2)) };
    }

    /// Whether expired leases may be taken back in this round of housekeeping.
    pub(super) fn may_take_back(&mut self, now: Timestamp, lease: Duration) -> bool {
        let reaper = &mut self.reaper;
        let stalled = reaper.last.is_some_and(|last| now.since(last) > lease / 2);
        reaper.last = Some(now);
        // A second silence in a row is how often housekeeping comes, not a stall.
        if stalled && reaper.hold_until.is_none() {
            reaper.hold_until = Some(now.plus(lease / 2));
            return false;
        }
        if reaper.hold_until.is_some_and(|until| now < until) {
            return false;
        }
        reaper.hold_until = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            totals: Totals::default(),
            losses: Losses::default(),
            paused: [false; 3],
            rotation: [[0; 3]; 3],
            drain: Drain::default(),
            reaper: Reaper::default(),
        }
    }

    #[test]
    fn priorities_take_turns_by_weight_and_save_nothing_up() {
        let mut state = state();
        for _ in 0..100 {
            assert_eq!(state.take_turn(Kind::Chat, [false, false, true]), Some(Priority::Low));
        }
        let mut taken = [0; 3];
        for _ in 0..26 {
            taken[state.take_turn(Kind::Chat, [true; 3]).unwrap() as usize] += 1;
        }
        assert_eq!(taken, [16, 8, 2]);
        assert_eq!(state.take_turn(Kind::Chat, [false; 3]), None);
    }

    #[test]
    fn a_full_queue_says_to_come_back_sooner_the_faster_it_drains() {
        let mut state = state();
        assert_eq!(state.retry_after(Timestamp(0), 1_000), Duration::from_mins(1));
        for second in 0..120 {
            for _ in 0..5 {
                state.ended(Timestamp(second * 1_000));
            }
        }
        let soon = state.retry_after(Timestamp(120_000), 1_000);
        assert!((1..=4).contains(&soon.as_secs()), "{soon:?}");
        assert_eq!(state.retry_after(Timestamp(3_600_000), 1_000), Duration::from_mins(1));
    }

    #[test]
    fn after_a_stall_leases_hold_for_half_a_lease_more_but_not_for_ever() {
        let (mut state, lease) = (state(), Duration::from_secs(10));
        let at = |seconds: i64| Timestamp(seconds * 1_000);
        assert!(state.may_take_back(at(0), lease));
        assert!(state.may_take_back(at(1), lease));
        assert!(!state.may_take_back(at(100), lease), "a stall");
        assert!(!state.may_take_back(at(103), lease));
        assert!(state.may_take_back(at(106), lease));
        assert!(!state.may_take_back(at(200), lease), "seldom housekeeping looks like a stall once");
        assert!(state.may_take_back(at(300), lease), "but not twice");
        state.hold_leases(at(301), lease);
        assert!(!state.may_take_back(at(305), lease), "nobody could beat");
        assert!(state.may_take_back(at(306), lease));
    }
}
