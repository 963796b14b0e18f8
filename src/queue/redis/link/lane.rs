//! One connection that all callers share, and the order in which it is opened again.
//!
//! Who finds it gone opens it while the others wait; a failed opening is the failure of all who waited. Between
//! openings lies the project's backoff, one for all callers: a thousand of them do not knock a thousand times.
//!
//! A connection that is given up is only no longer handed out. Calls under way on it keep it open and still get
//! their replies, each its own: replies come in the order of the calls, and the client library counts those
//! that nobody waits for any more.

use std::{
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep_until};

use super::{
    durability::{Asked, Proof},
    faults::Trouble,
};
use crate::resilience::backoff::Backoff;

/// Short at first: most reconnects succeed at once. The cap is well below the usual patience of a caller.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

/// A connection on loan.
#[derive(Clone)]
pub(super) struct Held {
    /// The connection.
    pub connection: MultiplexedConnection,
    /// What is asked of its server with every write.
    pub asked: Asked,
    number: u64,
}

/// The shared connection.
pub(super) struct Lane {
    name: &'static str,
    /// Which confirmation its writes need.
    pub proof: Proof,
    held: RwLock<Option<Held>>,
    turn: tokio::sync::Mutex<()>,
    openings: AtomicU64,
    opened: AtomicU64,
    schedule: Mutex<Schedule>,
}

/// When the next opening may be tried, and why the last one failed.
#[derive(Default)]
struct Schedule {
    failures: u32,
    not_before: Option<Instant>,
    last: Option<Trouble>,
}

impl Lane {
    pub(super) fn new(name: &'static str, proof: Proof) -> Self {
        Self {
            name,
            proof,
            held: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
            openings: AtomicU64::default(),
            opened: AtomicU64::default(),
            schedule: Mutex::default(),
        }
    }

    /// The connection, opened by `open` if there is still none.
    pub(super) async fn opened(
        &self,
        open: impl Future<Output = Result<(MultiplexedConnection, Asked), Trouble>> + Send,
    ) -> Result<Held, Trouble> {
        let seen = self.openings.load(Ordering::Acquire);
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held() {
            return Ok(held);
        }
        if self.openings.load(Ordering::Acquire) != seen
            && let Some(trouble) = self.schedule().last.clone()
        {
            return Err(trouble);
        }
        let not_before = self.schedule().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        let opened = open.await;
        self.openings.fetch_add(1, Ordering::Release);
        match opened {
            Ok((connection, asked)) => {
                let number = self.opened.fetch_add(1, Ordering::AcqRel) + 1;
                self.schedule().last = None;
                let held = Held { connection, asked, number };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
                Ok(held)
            }
            Err(trouble) => {
                self.failed(&trouble);
                self.schedule().last = Some(trouble.clone());
                Err(trouble)
            }
        }
    }

    /// The connection served a caller ill: nobody gets it any more.
    pub(super) fn give_up(&self, held: &Held, trouble: &Trouble) {
        let mut current = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.number == held.number) {
            *current = None;
            self.failed(trouble);
        }
    }

    /// The connection served a caller well: the next fault is again the first.
    pub(super) fn did_well(&self) {
        let mut schedule = self.schedule();
        if schedule.failures > 0 {
            tracing::info!(redis.connection = self.name, failures = schedule.failures, "redis answers again");
            *schedule = Schedule::default();
        }
    }

    /// How often it was opened again.
    pub(super) fn reopenings(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// The connection, if it is open.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One more failure in a row; only the first is told to people.
    fn failed(&self, trouble: &Trouble) {
        let mut schedule = self.schedule();
        if schedule.failures == 0 {
            tracing::warn!(redis.connection = self.name, reason = trouble.text, "redis does not answer as it should");
        } else {
            tracing::debug!(redis.connection = self.name, reason = trouble.text, "redis still does not");
        }
        schedule.failures = schedule.failures.saturating_add(1);
        schedule.not_before = Some(Instant::now() + BACKOFF.wait(schedule.failures));
    }

    fn schedule(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
