//! The use case of jobs of kind `replay`: puts dead letters back into the queue, no faster than is good.
//!
//! With a rate it is steady ([`pace`]). Without one it feels its way: a few letters, then twice as many, and so on,
//! each time once most of the ones before have ended, so that a cause that is still there costs few letters. Where
//! nobody works on them (a paused queue, no workers) it goes on without looking. It stops itself when the same cause
//! returns. All it knows stands in the store, so that another process goes on where this one was.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    config::settings,
    domain::{
        failure::{Code, Failure},
        job::{Delivery, Kind},
        replay::{ReplayOrder, ReplayResult, ReplayTally, Stopped},
        spent::Spent,
    },
    queue::{Fenced, Finish, ReplayStep, SharedJobStore},
    rag::Halt,
    worker::Handler,
};

mod pace;

use pace::Steady;

/// The most letters put back before another look at those before.
const LARGEST_STEP: u64 = 1_000;

/// How often it looks what became of letters while it waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs jobs of kind `replay`.
pub struct Replayer {
    store: SharedJobStore,
    settings: settings::Replay,
}

impl Replayer {
    /// A replayer on this store.
    pub fn new(store: SharedJobStore, settings: settings::Replay) -> Self {
        Self { store, settings }
    }

    async fn run(&self, delivery: &Delivery) -> Result<Finish, Halt> {
        let order: ReplayOrder = serde_json::from_value(delivery.payload.clone())
            .map_err(|_| Failure::new(Code::UndecodablePayload, "the job's payload is no order to replay"))?;
        let mut run =
            Run { replayer: self, delivery, order, tally: ReplayTally::default(), told: 0, ended_at: Instant::now() };
        run.step(0).await?;
        let stopped = match run.order.rate_per_second {
            Some(per_second) => run.steadily(per_second).await?,
            None => run.growing().await?,
        };
        if stopped.is_none() {
            run.wait_for_ends(0).await?;
        }
        let progress = run.tally.progress();
        run.write(ReplayStep { max: 0, tell: true }).await?;
        let result = serde_json::to_value(ReplayResult { progress, stopped }).map_err(|error| {
            Failure::new(Code::Unknown, "the result of a replay can't be written").with_source(error)
        })?;
        Ok(Finish::Completed { result, document: None, turn: None })
    }
}

impl Handler for Replayer {
    fn handle<'a>(&'a self, delivery: &'a Delivery, _: &'a Spent) -> BoxFuture<'a, Result<Finish, Halt>> {
        Box::pin(self.run(delivery))
    }
}

/// One delivery of a replay.
struct Run<'a> {
    replayer: &'a Replayer,
    delivery: &'a Delivery,
    order: ReplayOrder,
    tally: ReplayTally,
    /// How many letters its log knows of.
    told: u64,
    /// When a letter was last seen to end.
    ended_at: Instant,
}

impl Run<'_> {
    /// Puts back so many letters at most. Its log hears of every hundredth part.
    async fn step(&mut self, max: u64) -> Result<(), Halt> {
        let tell = self.tally.replayed - self.told >= (self.order.matched / 100).max(1);
        if tell {
            self.told = self.tally.replayed;
        }
        self.write(ReplayStep { max: usize::try_from(max).unwrap_or(usize::MAX), tell }).await
    }

    async fn write(&mut self, step: ReplayStep) -> Result<(), Halt> {
        match self.replayer.store.replay_letters(&self.delivery.lease, &self.order, step).await? {
            Fenced::Applied(tally) => {
                if tally.ended > self.tally.ended {
                    self.ended_at = Instant::now();
                }
                self.tally = tally;
                Ok(())
            }
            Fenced::Stale => Err(Halt::LeaseLost),
        }
    }

    /// Whether letters die again, and enough of them of one cause.
    fn stopped(&self) -> Option<Stopped> {
        let settings::Replay { stop_after, stop_share, .. } = self.replayer.settings;
        let returned = self.tally.ended >= stop_after
            && self.tally.same_code as f64 >= stop_share * self.tally.ended as f64
            && self.tally.same_code > 0;
        returned.then_some(Stopped::SameCauseReturned)
    }

    async fn steadily(&mut self, per_second: f64) -> Result<Option<Stopped>, Halt> {
        let mut pace = Steady::new(per_second, Instant::now());
        while !self.tally.exhausted {
            if let Some(stopped) = self.stopped() {
                return Ok(Some(stopped));
            }
            let before = self.tally.replayed;
            self.step(pace.due(Instant::now())).await?;
            pace.gave(self.tally.replayed - before);
            if !self.tally.exhausted {
                sleep_until(pace.next(Instant::now())).await;
            }
        }
        Ok(None)
    }

    async fn growing(&mut self) -> Result<Option<Stopped>, Halt> {
        let mut size = self.replayer.settings.stop_after;
        let mut left = size;
        while !self.tally.exhausted {
            if let Some(stopped) = self.stopped() {
                return Ok(Some(stopped));
            }
            let before = self.tally.replayed;
            self.step(left).await?;
            left = left.saturating_sub(self.tally.replayed - before);
            if left == 0 && !self.tally.exhausted {
                // Of the first ones all, or there would be nothing to judge by.
                let known = self.tally.replayed.saturating_sub(self.replayer.settings.stop_after);
                self.wait_for_ends(known.min(size / 2)).await?;
                size = (2 * size).min(LARGEST_STEP.max(size));
                left = size;
            }
        }
        Ok(None)
    }

    /// Waits until no more than so many of the replayed letters have not ended, as long as some do.
    async fn wait_for_ends(&mut self, waiting: u64) -> Result<(), Halt> {
        let patience = Duration::from_millis(self.replayer.settings.patience_ms);
        let begun = Instant::now();
        while self.tally.replayed - self.tally.ended > waiting && (self.tally.exhausted || self.stopped().is_none()) {
            if self.ended_at.max(begun).elapsed() >= patience || self.nobody_works().await? {
                break;
            }
            sleep(LOOK_EVERY).await;
            self.step(0).await?;
        }
        Ok(())
    }

    async fn nobody_works(&self) -> Result<bool, Halt> {
        let stats = self.replayer.store.stats().await?;
        let paused = match self.order.selection.kind {
            Some(kind) => stats.paused.contains(&kind),
            None => [Kind::Chat, Kind::Ingest].iter().all(|kind| stats.paused.contains(kind)),
        };
        Ok(paused || stats.workers.is_empty())
    }
}
