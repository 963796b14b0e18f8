//! A pure machine whose state all processes share through a cell of the job store.
//!
//! What this process has to tell is applied to its own copy at once and written by one task, which puts all that has
//! gathered into one swap; a swap that comes too late is computed again on what is there. While the store is away the
//! process goes on with its copy; what it saw meanwhile is told when the store is back, also if others were sooner. An idle
//! process writes nothing and asks nothing: what others change is announced. A turn of the machine is reported by the
//! process whose swap made it, and by no other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::clock::{Clock as _, SystemClock, Timestamp},
    queue::{Cell, Cells, Swap},
    resilience::backoff::Backoff,
};

/// A store that is slower than this counts as away: calls to a provider do not wait for it.
const STORE_WITHIN: Duration = Duration::from_secs(1);
/// How long what nobody waits for may gather.
const GATHERING: Duration = Duration::from_secs(1);
/// So many events are told after the store was away; older ones have nothing to say by then.
const KEPT: usize = 1_000;
/// So many writes are remembered that were never answered.
const UNSURE: usize = 8;
/// Waits between swaps that met another.
const CONFLICTS: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(50));

/// A state with its rules.
pub(super) trait Machine:
    Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What happens to it.
    type Event: Clone + Send + Sync + 'static;
    /// What its teller learns.
    type Answer: Send + 'static;
    /// A change of it that is reported.
    type Turn: Copy + Send + 'static;
    /// The numbers it goes by.
    type Rules: Send + Sync + 'static;

    /// Applies one event.
    fn apply(&mut self, event: &Self::Event, now: Timestamp, rules: &Self::Rules)
    -> (Self::Answer, Option<Self::Turn>);

    /// Makes one event of two that follow each other, if that says the same.
    fn merge(into: &mut Self::Event, event: &Self::Event) -> bool;

    /// Whether an event that was applied while the store was away still holds on what others have made of the machine.
    fn outlasts(event: &Self::Event) -> bool;

    /// Whether every process must hear at once that `before` has become this.
    fn is_news(&self, before: &Self) -> bool;
}

/// How soon an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// At once.
    Now,
    /// With the next that is written at once, or in a second.
    Soon,
}

struct Pending<M: Machine> {
    event: M::Event,
    /// When it happened, however late it is written.
    at: Timestamp,
    answer: Option<oneshot::Sender<M::Answer>>,
    /// The turn it made was reported before.
    reported: bool,
}

/// Who hears of turns.
pub(super) type Report<M> = Box<dyn Fn(<M as Machine>::Turn) + Send + Sync>;

/// What comes of all that is on its way.
struct Computed<M: Machine> {
    version: u64,
    next: M,
    /// Whether the store needs to be told, and others to be woken.
    differs: bool,
    is_news: bool,
    answers: Vec<M::Answer>,
    turns: Vec<M::Turn>,
}

/// A write that nobody knows of whether it was carried out.
struct Unsure {
    version: u64,
    value: String,
    /// So many of what was kept are part of it.
    kept: usize,
}

struct Inner<M: Machine> {
    /// What the store said last, and what was applied to it while that was away.
    base: M,
    /// Whether there is any of the latter.
    apart: bool,
    /// Of the latter, what is told again if others wrote meanwhile.
    kept: Vec<Pending<M>>,
    /// What may have been written: the store was asked to, and never answered.
    unsure: Vec<Unsure>,
    version: u64,
    /// The store's time at an instant of ours.
    clock: (Timestamp, Instant),
    /// On its way into the store.
    writing: Vec<Pending<M>>,
    waiting: Vec<Pending<M>>,
    /// `base` after all that is on its way or waits.
    view: M,
    urgency: Option<Urgency>,
    /// Nobody keeps it in step any more.
    alone: bool,
}

impl<M: Machine> Inner<M> {
    fn now(&self) -> Timestamp {
        self.clock.0.plus(self.clock.1.elapsed())
    }

    fn look_again(&mut self, rules: &M::Rules) {
        let mut view = self.base.clone();
        for pending in self.writing.iter().chain(&self.waiting) {
            view.apply(&pending.event, pending.at, rules);
        }
        self.view = view;
    }

    /// Remembers what was applied without the store, or perhaps with it, as that value.
    fn keep(&mut self, told: &[Pending<M>], unsure: Option<String>) {
        self.apart = true;
        self.urgency.get_or_insert(Urgency::Soon);
        let sealed = self.unsure.last().map_or(0, |unsure| unsure.kept);
        for Pending { event, at, .. } in told.iter().filter(|pending| M::outlasts(&pending.event)) {
            let merges = self.kept.len() > sealed;
            if !(merges && self.kept.last_mut().is_some_and(|last| M::merge(&mut last.event, event))) {
                self.kept.push(Pending { event: event.clone(), at: *at, answer: None, reported: true });
            }
        }
        if let Some(value) = unsure {
            let (version, kept) = (self.version + 1, self.kept.len());
            self.unsure.push(Unsure { version, value, kept });
        }
        let too_many = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..too_many);
        let too_old = self.unsure.len().saturating_sub(UNSURE);
        self.unsure.drain(..too_old);
        for unsure in &mut self.unsure {
            unsure.kept = unsure.kept.saturating_sub(too_many);
        }
    }

    fn adopt(&mut self, cell: &Cell, rules: &M::Rules) {
        let unsure = std::mem::take(&mut self.unsure);
        if let Some(ours) = unsure.iter().find(|ours| ours.version == cell.version && ours.value == cell.value) {
            // It was carried out after all: none of it is told again.
            self.kept.drain(..ours.kept);
        }
        self.version = cell.version;
        // What can't be read was written by another version of ragq: it begins anew.
        self.base = serde_json::from_str(&cell.value).unwrap_or_default();
        self.apart = false;
        if !self.kept.is_empty() {
            let kept = std::mem::take(&mut self.kept);
            self.writing.splice(0..0, kept);
            self.urgency = Some(Urgency::Now);
        }
        self.look_again(rules);
    }
}

/// A machine, shared.
pub(super) struct Shared<M: Machine> {
    name: String,
    rules: M::Rules,
    report: Report<M>,
    inner: Mutex<Inner<M>>,
    wake: Notify,
    changed: watch::Sender<()>,
}

impl<M: Machine> Shared<M> {
    /// The machine in the cell of that name; to be kept in step by [`run`](Self::run).
    pub(super) fn new(name: String, rules: M::Rules, report: Report<M>) -> Self {
        let inner = Inner {
            base: M::default(),
            apart: false,
            kept: Vec::new(),
            unsure: Vec::new(),
            version: 0,
            clock: (SystemClock.now(), Instant::now()),
            writing: Vec::new(),
            waiting: Vec::new(),
            view: M::default(),
            urgency: None,
            alone: false,
        };
        Self { name, rules, report, inner: Mutex::new(inner), wake: Notify::new(), changed: watch::Sender::new(()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        // Nothing panics while the lock is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the machine as this process knows it, at the store's present time.
    pub(super) fn look<T>(&self, look: impl FnOnce(&M, Timestamp) -> T) -> T {
        let inner = self.inner();
        look(&inner.view, inner.now())
    }

    /// Wakes at every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The rules.
    pub(super) const fn rules(&self) -> &M::Rules {
        &self.rules
    }

    /// Tells of an event.
    pub(super) fn tell(&self, event: M::Event, urgency: Urgency) {
        self.push(event, None, urgency);
    }

    /// Tells of an event and waits for what the whole deployment makes of it. None: the process ends.
    pub(super) async fn ask(&self, event: M::Event) -> Option<M::Answer> {
        let (sender, answer) = oneshot::channel();
        self.push(event, Some(sender), Urgency::Now);
        answer.await.ok()
    }

    fn push(&self, event: M::Event, answer: Option<oneshot::Sender<M::Answer>>, urgency: Urgency) {
        let mut inner = self.inner();
        let now = inner.now();
        if inner.alone {
            let (made_of_it, turn) = inner.base.apply(&event, now, &self.rules);
            inner.view = inner.base.clone();
            drop(inner);
            turn.into_iter().for_each(&self.report);
            if let Some(sender) = answer {
                drop(sender.send(made_of_it));
            }
            self.changed.send_replace(());
            return;
        }
        inner.view.apply(&event, now, &self.rules);
        let merged = answer.is_none()
            && inner.waiting.last_mut().is_some_and(|last| last.answer.is_none() && M::merge(&mut last.event, &event));
        if !merged {
            inner.waiting.push(Pending { event, at: now, answer, reported: false });
        }
        if inner.urgency != Some(Urgency::Now) {
            inner.urgency = Some(urgency);
        }
        drop(inner);
        self.wake.notify_one();
        self.changed.send_replace(());
    }

    /// Keeps the machine and its cell in step until stopped, then writes what is left. From then on the machine is this
    /// process's own.
    pub(super) async fn run(self: Arc<Self>, cells: Arc<dyn Cells>, stop: CancellationToken) {
        let mut announced = cells.watch_cell(&self.name);
        if let Ok(Ok(cell)) = timeout(STORE_WITHIN, cells.cell(&self.name)).await {
            self.found(&cell);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.due() => self.write(cells.as_ref()).await,
                told = announced.changed() => {
                    if told.is_err() {
                        break;
                    }
                    let cell = announced.borrow_and_update().clone();
                    self.hear(&cell);
                }
            }
        }
        loop {
            self.write(cells.as_ref()).await;
            let mut inner = self.inner();
            if inner.waiting.is_empty() {
                inner.alone = true;
                return;
            }
        }
    }

    /// Resolves when there is something to write, and it has gathered for as long as it may.
    async fn due(&self) {
        loop {
            let urgency = self.inner().urgency;
            match urgency {
                Some(Urgency::Now) => return,
                Some(Urgency::Soon) => {
                    tokio::select! {
                        () = sleep(GATHERING) => return,
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    fn found(&self, cell: &Cell) {
        let mut inner = self.inner();
        inner.clock = (cell.now, Instant::now());
        inner.adopt(cell, &self.rules);
        drop(inner);
        self.changed.send_replace(());
    }

    fn hear(&self, cell: &Cell) {
        let mut inner = self.inner();
        if cell.version > inner.version {
            inner.adopt(cell, &self.rules);
            drop(inner);
            self.changed.send_replace(());
        }
    }

    /// Writes all that waits, however many others write at the same time.
    async fn write(&self, cells: &dyn Cells) {
        {
            let mut inner = self.inner();
            let mut waiting = std::mem::take(&mut inner.waiting);
            inner.writing.append(&mut waiting);
            inner.urgency = None;
        }
        let mut conflicts = 0;
        loop {
            let computed = self.computed();
            if !computed.differs {
                return self.written(computed, None, None);
            }
            let Ok(value) = serde_json::to_string(&computed.next) else { return self.written(computed, None, None) };
            let swap = cells.swap_cell(&self.name, computed.version, &value, computed.is_news);
            match timeout(STORE_WITHIN, swap).await {
                Ok(Ok(Swap::Applied(cell))) => return self.written(computed, Some(&cell), None),
                Ok(Ok(Swap::Conflict(cell))) => {
                    self.found(&cell);
                    conflicts += 1;
                    sleep(CONFLICTS.wait(conflicts)).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(cell = self.name, %error, "the job store is away, going on with what is known");
                    return self.written(computed, None, Some(value));
                }
                Err(_) => return self.written(computed, None, Some(value)),
            }
        }
    }

    fn computed(&self) -> Computed<M> {
        let inner = self.inner();
        let mut next = inner.base.clone();
        let (mut answers, mut turns) = (Vec::with_capacity(inner.writing.len()), Vec::new());
        for pending in &inner.writing {
            let (answer, turn) = next.apply(&pending.event, pending.at, &self.rules);
            answers.push(answer);
            turns.extend(turn.filter(|_| !pending.reported));
        }
        let differs = inner.apart || next != inner.base;
        let is_news = inner.apart || next.is_news(&inner.base);
        Computed { version: inner.version, next, differs, is_news, answers, turns }
    }

    /// Takes over what was computed; no cell: the store does not know it, or need not, or perhaps does, as a value that is
    /// unsure.
    fn written(&self, computed: Computed<M>, cell: Option<&Cell>, unsure: Option<String>) {
        let Computed { next, differs, answers, turns, .. } = computed;
        let mut inner = self.inner();
        inner.base = next;
        let told = std::mem::take(&mut inner.writing);
        if let Some(cell) = cell {
            inner.version = cell.version;
            inner.clock = (cell.now, Instant::now());
            inner.apart = false;
            inner.kept.clear();
            inner.unsure.clear();
        } else if differs {
            inner.keep(&told, unsure);
        }
        inner.look_again(&self.rules);
        drop(inner);
        turns.into_iter().for_each(&self.report);
        for (pending, answer) in told.into_iter().zip(answers) {
            // Who has gone meanwhile does not need it.
            if let Some(sender) = pending.answer {
                drop(sender.send(answer));
            }
        }
        self.changed.send_replace(());
    }
}
