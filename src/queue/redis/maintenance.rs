//! Housekeeping, in steps small enough that a submit hardly waits for one. Every process does it, the API too, so
//! that what is due wakes a deployment whose workers are scaled to none.

use std::time::Duration;

use async_trait::async_trait;

use super::{RedisJobStore, history, link::Confirm, millis, scripts};
use crate::{
    domain::clock::Timestamp,
    queue::{Maintenance, PerKind, Result, Upkeep, history::Counts},
};

/// Jobs of one sort changed in one step; there are four sorts, and a step with all of them must stay short, too.
const STEP: usize = 50;

/// Steps in one round.
const STEPS: usize = 20;

/// What `upkeep.lua` returns.
type Done = (i64, u64, [u64; 3], [u64; 3], u64, u64, u64, i64, Vec<String>);

/// Keeps leases from being taken back after a stall, when every lease looks expired because nobody could beat:
/// the server must have answered this process for one whole lease without a break first. Instants are the
/// server's own, so that a break shows itself as a gap between two answers. A connection that had to be opened
/// again is a break, too, however short: a server that comes and goes may be met each time by one process and
/// never by another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reaper {
    unbroken_since: Option<Timestamp>,
    last: Option<Timestamp>,
    reconnects: u64,
}

impl Reaper {
    /// Until when leases may be taken back; the epoch if not at all.
    fn take_back_until(&self, lease: Duration) -> Timestamp {
        match (self.unbroken_since, self.last) {
            (Some(since), Some(last)) if last.since(since) >= lease.mul_f32(0.75) => last.plus(lease / 2),
            (Some(_) | None, Some(_) | None) => Timestamp(0),
        }
    }

    /// Notes an answer, and how often connections were opened again until then.
    fn answered(&mut self, now: Timestamp, lease: Duration, reconnects: u64) {
        if reconnects != self.reconnects || self.last.is_none_or(|last| now.since(last) > lease / 2) {
            self.unbroken_since = Some(now);
        }
        self.last = Some(now);
        self.reconnects = reconnects;
    }

    /// Notes that there was no answer.
    fn broken(&mut self) {
        *self = Self::default();
    }
}

#[async_trait]
impl Maintenance for RedisJobStore {
    async fn upkeep(&self) -> Result<Upkeep> {
        let mut done = Upkeep::default();
        for _ in 0..STEPS {
            let (step, buried) = self.step().await?;
            done.leases_lost += step.leases_lost;
            done.poisoned += step.poisoned;
            done.deadlines += step.deadlines;
            done.promoted += step.promoted;
            done.expired += step.expired;
            done.next_due = step.next_due;
            let most = [step.leases_lost, buried, step.promoted, step.expired].into_iter().max();
            if most.is_none_or(|most| most < STEP as u64) {
                break;
            }
        }
        history::tell_if_due(&self.shared).await;
        Ok(done)
    }

    async fn ping(&self) -> Result<()> {
        self.shared.call::<Vec<String>>(&scripts::STATUSES, Confirm::No, |_| ()).await?;
        Ok(())
    }

    fn counts(&self) -> &Counts {
        &self.shared.history.counts
    }
}

impl RedisJobStore {
    /// One step, and how many jobs it buried.
    async fn step(&self) -> Result<(Upkeep, u64)> {
        let options = &self.shared.options;
        let reap = self.reaper().take_back_until(options.lease);
        let answer = self.shared.call(&scripts::UPKEEP, Confirm::No, |command| {
            command
                .arg(reap.0)
                .arg(STEP)
                .arg(options.max_lost_leases)
                .arg(millis(options.completed_retention))
                .arg(millis(options.dead_retention))
                .arg(options.max_attempts)
                .arg(millis(options.audit_retention));
        });
        let (now, leases_lost, poisoned, deadlines, buried, promoted, expired, wait, changed): Done =
            answer.await.inspect_err(|_| self.reaper().broken())?;
        self.reaper().answered(Timestamp(now), options.lease, self.shared.link.reconnects());
        self.shared.changed(&changed);
        let next_due = u64::try_from(wait).ok().map(Duration::from_millis);
        let (poisoned, deadlines) = (PerKind::from(poisoned), PerKind::from(deadlines));
        Ok((Upkeep { promoted, leases_lost, poisoned, deadlines, expired, next_due }, buried))
    }
}
