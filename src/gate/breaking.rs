//! The circuit breaker of one gate: shared with all processes, claimed for probes, told of outcomes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use ulid::Ulid;

use super::shared::{Machine, Shared, Urgency};
use crate::{
    domain::{
        clock::Timestamp,
        failure::{Code, Failure},
    },
    resilience::breaker::{Admission, Breaker, BreakerEvent, BreakerRules, BreakerState},
};

impl Machine for Breaker {
    type Event = BreakerEvent;
    /// The generation, if the event was taken as it was meant.
    type Answer = Option<u64>;
    type Turn = BreakerState;
    type Rules = BreakerRules;

    fn apply(
        &mut self,
        event: &BreakerEvent,
        now: Timestamp,
        rules: &BreakerRules,
    ) -> (Option<u64>, Option<BreakerState>) {
        let before = self.stage();
        let taken = Self::apply(self, event, now, rules);
        let turn = Some(self.stage()).filter(|stage| *stage != before);
        (taken.then(|| self.generation()), turn)
    }

    /// How calls went, they went; a probe belongs to the state of affairs in which it was claimed.
    fn outlasts(event: &BreakerEvent) -> bool {
        match event {
            BreakerEvent::Succeeded { .. } | BreakerEvent::Failed { .. } => true,
            BreakerEvent::Claimed { .. } | BreakerEvent::Renewed { .. } | BreakerEvent::Abandoned { .. } => false,
        }
    }

    fn merge(into: &mut BreakerEvent, event: &BreakerEvent) -> bool {
        match (into, event) {
            (
                BreakerEvent::Succeeded { generation, calls },
                BreakerEvent::Succeeded { generation: of, calls: more },
            ) if generation == of => {
                *calls = calls.saturating_add(*more);
                true
            }
            _ => false,
        }
    }

    fn is_news(&self, before: &Self) -> bool {
        Self::is_news(self, before)
    }
}

/// One gate's breaker.
pub(super) struct Breaking {
    shared: Arc<Shared<Breaker>>,
    /// This boot of the process, before all others the holder of its probes.
    boot: String,
    claims: AtomicU64,
    /// A probe that was claimed before a job was fetched, for that job's first call.
    offered: Mutex<Option<Probe>>,
    quiet: Mutex<Quiet>,
    tasks: TaskTracker,
}

/// Successes that nobody has been told of, because nothing failed.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    generation: u64,
    calls: u32,
    since: Timestamp,
}

impl Breaking {
    pub(super) fn new(shared: Arc<Shared<Breaker>>, tasks: TaskTracker) -> Self {
        Self {
            shared,
            boot: Ulid::from_parts(0, rand::random()).to_string(),
            claims: AtomicU64::new(0),
            offered: Mutex::default(),
            quiet: Mutex::default(),
            tasks,
        }
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Breaker, Timestamp) -> T) -> T {
        self.shared.look(look)
    }

    pub(super) fn admission(&self) -> (Admission, u64) {
        self.look(|breaker, now| (breaker.admission(now), breaker.generation()))
    }

    /// The present generation, and whether the provider was found well again within the last window.
    pub(super) fn generation(&self) -> (u64, bool) {
        let window = self.shared.rules().window;
        self.look(|breaker, now| (breaker.generation(), breaker.closed_since(now, window)))
    }

    /// Whether it was ever opened, as far as anybody remembers.
    pub(super) fn has_opened(&self) -> bool {
        self.look(|breaker, _| breaker.generation() > 0)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changes()
    }

    /// How long the provider is left alone at least.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self.admission().0 {
            Admission::Wait(wait) => Some(wait),
            Admission::Closed | Admission::ProbeDue => None,
        }
    }

    fn offered(&self) -> MutexGuard<'_, Option<Probe>> {
        // Nothing panics while the lock is held.
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a probe for the next call; one that was kept before and not taken is given up. Its generation.
    pub(super) fn offer(&self, probe: Probe) -> u64 {
        let generation = probe.generation;
        let before = self.offered().replace(probe);
        drop(before);
        generation
    }

    /// The probe that was kept for a call, if there is one.
    pub(super) fn take_offered(&self) -> Option<Probe> {
        self.offered().take()
    }

    /// Gives up the probe of that generation, unless it was taken.
    pub(super) fn withdraw(&self, generation: u64) {
        let unused = {
            let mut offered = self.offered();
            if offered.as_ref().is_some_and(|probe| probe.generation == generation) { offered.take() } else { None }
        };
        drop(unused);
    }

    /// Why no call may be made now. It names the cause by its code alone: who asks is not who met it.
    pub(super) fn refusal(&self) -> Failure {
        let why = self.look(|breaker, _| breaker.cause().map(|cause| cause.code));
        let why = why.map_or("", Code::as_str);
        let message =
            format!("the model provider is left alone until a call to it shows that it is well again ({why})");
        Failure::new(Code::BreakerOpen, message).with_retry_after(self.wait())
    }

    /// Claims the probe before all other processes; none if another has it, or none is due.
    pub(super) async fn claim(self: &Arc<Self>) -> Option<Probe> {
        let number = self.claims.fetch_add(1, Ordering::Relaxed);
        let holder = format!("{}/{number}", self.boot);
        let generation = self.shared.ask(BreakerEvent::Claimed { holder }).await.flatten()?;
        let alive = CancellationToken::new();
        let (shared, ended) = (self.shared.clone(), alive.clone());
        self.tasks.spawn(async move {
            let beat = async {
                loop {
                    tokio::time::sleep(shared.rules().probe_lease / 3).await;
                    shared.tell(BreakerEvent::Renewed { generation }, Urgency::Now);
                }
            };
            ended.run_until_cancelled(beat).await
        });
        Some(Probe { breaking: self.clone(), generation, told: false, _alive: alive.drop_guard() })
    }

    /// Reports a call that went well.
    pub(super) fn succeeded(&self, generation: u64) {
        if self.look(|breaker, _| breaker.heeds_success()) {
            return self.tell_successes(generation, 1);
        }
        let now = self.look(|_, now| now);
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        // What is older than a window would not be counted anyway; rather too few than too many.
        if quiet.generation != generation || now.since(quiet.since) > self.shared.rules().window {
            *quiet = Quiet { generation, calls: 0, since: now };
        }
        quiet.calls = quiet.calls.saturating_add(1);
    }

    fn tell_successes(&self, generation: u64, more: u32) {
        let quiet = std::mem::take(&mut *self.quiet.lock().unwrap_or_else(PoisonError::into_inner));
        let calls = more + if quiet.generation == generation { quiet.calls } else { 0 };
        if calls > 0 {
            self.shared.tell(BreakerEvent::Succeeded { generation, calls }, Urgency::Soon);
        }
    }

    /// Reports a failed call; `generation` is the one it was admitted under, and so many others are under way.
    pub(super) fn failed(&self, generation: u64, failure: &Failure, under_way: u32) {
        // What went well before belongs before it: it ends a row of failures and counts for the share.
        self.tell_successes(generation, 0);
        let event = BreakerEvent::Failed {
            generation,
            code: failure.code,
            message: failure.message.clone(),
            retry_after: failure.retry_after,
            under_way,
            jitter: rand::random(),
        };
        self.shared.tell(event, Urgency::Now);
    }
}

/// The right to make the one call that finds out whether a provider is well again.
pub(super) struct Probe {
    breaking: Arc<Breaking>,
    generation: u64,
    /// Whether its outcome has been told.
    told: bool,
    /// Says that its holder lives, for as long as it does.
    _alive: DropGuard,
}

impl Probe {
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The provider answers.
    pub(super) fn succeeded(mut self) {
        self.told = true;
        let event = BreakerEvent::Succeeded { generation: self.generation, calls: 1 };
        self.breaking.shared.tell(event, Urgency::Now);
    }

    /// The provider does not; its failure is told like any other.
    pub(super) fn failed(mut self) {
        self.told = true;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.told {
            let event = BreakerEvent::Abandoned { generation: self.generation };
            self.breaking.shared.tell(event, Urgency::Now);
        }
    }
}
