//! A pure machine whose state all processes share through a cell of the job store.
//!
//! What this process has to tell is applied to its own copy at once and written by one task, which puts all that has
//! gathered into one swap; a swap that comes too late is computed again on what is there. While the store is away the
//! process goes on with its copy. An idle process writes nothing and asks nothing: what others change is announced.

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
    /// The numbers it goes by.
    type Rules: Send + Sync + 'static;

    /// Applies one event.
    fn apply(&mut self, event: &Self::Event, now: Timestamp, rules: &Self::Rules) -> Self::Answer;

    /// Makes one event of two that follow each other, if that says the same.
    fn merge(into: &mut Self::Event, event: &Self::Event) -> bool;

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
}

struct Inner<M: Machine> {
    /// What the store said last.
    base: M,
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

    fn adopt(&mut self, cell: &Cell, rules: &M::Rules) {
        self.version = cell.version;
        // What can't be read was written by another version of ragq: it begins anew.
        self.base = serde_json::from_str(&cell.value).unwrap_or_default();
        self.look_again(rules);
    }
}

/// A machine, shared.
pub(super) struct Shared<M: Machine> {
    name: String,
    rules: M::Rules,
    inner: Mutex<Inner<M>>,
    wake: Notify,
    changed: watch::Sender<()>,
}

impl<M: Machine> Shared<M> {
    /// The machine in the cell of that name; to be kept in step by [`run`](Self::run).
    pub(super) fn new(name: String, rules: M::Rules) -> Self {
        let inner = Inner {
            base: M::default(),
            version: 0,
            clock: (SystemClock.now(), Instant::now()),
            writing: Vec::new(),
            waiting: Vec::new(),
            view: M::default(),
            urgency: None,
            alone: false,
        };
        Self { name, rules, inner: Mutex::new(inner), wake: Notify::new(), changed: watch::Sender::new(()) }
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
            let made_of_it = inner.base.apply(&event, now, &self.rules);
            inner.view = inner.base.clone();
            drop(inner);
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
            inner.waiting.push(Pending { event, at: now, answer });
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
            let waiting = std::mem::take(&mut inner.waiting);
            inner.writing = waiting;
            inner.urgency = None;
        }
        let mut conflicts = 0;
        loop {
            let (version, before, next, answers) = self.computed();
            if next == before {
                return self.written(next, None, answers);
            }
            let Ok(value) = serde_json::to_string(&next) else { return self.written(next, None, answers) };
            match timeout(STORE_WITHIN, cells.swap_cell(&self.name, version, &value, next.is_news(&before))).await {
                Ok(Ok(Swap::Applied(cell))) => return self.written(next, Some(&cell), answers),
                Ok(Ok(Swap::Conflict(cell))) => {
                    self.found(&cell);
                    conflicts += 1;
                    sleep(CONFLICTS.wait(conflicts)).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(cell = self.name, %error, "the job store is away, going on with what is known");
                    return self.written(next, None, answers);
                }
                Err(_) => return self.written(next, None, answers),
            }
        }
    }

    fn computed(&self) -> (u64, M, M, Vec<M::Answer>) {
        let inner = self.inner();
        let mut next = inner.base.clone();
        let answers = inner.writing.iter().map(|pending| next.apply(&pending.event, pending.at, &self.rules)).collect();
        (inner.version, inner.base.clone(), next, answers)
    }

    fn written(&self, next: M, cell: Option<&Cell>, answers: Vec<M::Answer>) {
        let mut inner = self.inner();
        inner.base = next;
        if let Some(cell) = cell {
            inner.version = cell.version;
            inner.clock = (cell.now, Instant::now());
        }
        let told = std::mem::take(&mut inner.writing);
        inner.look_again(&self.rules);
        drop(inner);
        for (pending, answer) in told.into_iter().zip(answers) {
            // Who has gone meanwhile does not need it.
            if let Some(sender) = pending.answer {
                drop(sender.send(answer));
            }
        }
        self.changed.send_replace(());
    }
}
