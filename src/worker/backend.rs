//! apalis' view of the job store: a [`Backend`] fed by one driver task.
//!
//! apalis-core's own `Persisted` makes one state machine of fetching, acknowledging and beating, in which a
//! blocking fetch blocks the others and any error ends the worker. Here the driver fetches only as many
//! jobs as there are free slots, so that nothing is hoarded, and never gives up on a store that is away.

use std::{
    error::Error,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, task_id::TaskId},
    worker::context::WorkerContext,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{STORE_BACKOFF, settle::SettleLayer};
use crate::{
    domain::{
        ids::WorkerId,
        job::{Delivery, Kind},
        spent::Spent,
    },
    gate::{KindGate, Pass},
    queue::{SharedJobStore, StoreError},
};

/// A delivery with the slot it takes up; the slot is free again when both are dropped.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) delivery: Arc<Delivery>,
    pub(super) slot: Option<Slot>,
    /// What its calls to providers cost.
    pub(super) spent: Spent,
    /// What is logged of it stands within.
    pub(super) span: Span,
    /// What is traced of it stands within.
    pub(super) attempt: Span,
}

impl Handed {
    fn new(delivery: Delivery, slot: Option<Slot>) -> Self {
        Self { delivery: Arc::new(delivery), slot, spent: Spent::default(), span: Span::none(), attempt: Span::none() }
    }
}

/// What a delivery takes up until it is settled: its place, and the pass it was fetched with.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _pass: Pass,
}

/// Nothing goes wrong in here: the driver deals with the store's failures itself.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Never {}

/// The backend of one kind of job.
pub(super) struct StoreBackend {
    deliveries: mpsc::Receiver<Handed>,
    settle: SettleLayer,
}

impl StoreBackend {
    pub(super) fn new(deliveries: mpsc::Receiver<Handed>, settle: SettleLayer) -> Self {
        Self { deliveries, settle }
    }
}

impl Backend for StoreBackend {
    type Task = Task<Handed>;
    type Error = Never;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    /// The end of the driver is the end of the backend: the worker then finishes what runs and exits.
    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Never>>> {
        Poll::Ready(ready!(self.deliveries.poll_recv(cx)).map(|handed| Ok(Task::new(handed))))
    }

    /// Tells the worker to stop: of itself it waits for that for ever, also when its backend has ended.
    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Never>> {
        if let Err(error) = worker.stop() {
            tracing::debug!(%error, "the worker had not started");
        }
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for StoreBackend {
    type Args = Handed;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = SettleLayer;

    fn config(&self) -> &Self::Config {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> SettleLayer {
        self.settle.clone()
    }
}

/// How often deletions of documents are looked for while their provider is left alone.
const DELETIONS_EVERY: Duration = Duration::from_secs(1);

/// Slots that one fetch asks jobs for: of thousands that are free, it need not take and give back all for each job.
const TOGETHER: usize = 256;

/// Fetches jobs of one kind for free slots, as far as their gate lets them through, until told to drain.
pub(super) async fn drive(
    store: SharedJobStore,
    worker: WorkerId,
    kind: Kind,
    gate: KindGate,
    slots: Arc<Semaphore>,
    handed: mpsc::Sender<Handed>,
    drain: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            permit = slots.clone().acquire_owned() => permit,
        };
        let Ok(first) = first else { return };
        let free = slots.available_permits().min(TOGETHER - 1);
        let mut permits = vec![first];
        // Another permit may go between the look and the taking only in this task: never fewer than seen.
        permits.extend(std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).take(free));
        // Kept over the looks for deletions: dropped in the middle of claiming a probe, it would hold others up.
        let mut passes = pin!(gate.passes(permits.len()));
        let passes = loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return,
                passes = &mut passes => break passes,
                () = sleep(DELETIONS_EVERY), if kind == Kind::Ingest => {}
            }
            let more = TOGETHER.saturating_sub(permits.len());
            permits.extend(std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).take(more));
            let looking = || store.fetch_deletions(&worker, permits.len());
            let Some(deletions) = until_answered(kind, &drain, looking).await else { return };
            for delivery in deletions {
                let slot = permits.pop().map(|permit| Slot { _permit: permit, _pass: Pass::default() });
                if handed.send(Handed::new(delivery, slot)).await.is_err() {
                    return;
                }
            }
        };
        let mut taken: Vec<_> =
            permits.into_iter().zip(passes).map(|(permit, pass)| Slot { _permit: permit, _pass: pass }).collect();
        if taken.is_empty() {
            continue;
        }
        let Some(deliveries) = until_answered(kind, &drain, || store.fetch(&worker, kind, taken.len())).await else {
            return;
        };
        let idle = deliveries.is_empty();
        for delivery in deliveries {
            if handed.send(Handed::new(delivery, taken.pop())).await.is_err() {
                return;
            }
        }
        drop(taken);
        if idle {
            tokio::select! {
                () = drain.cancelled() => return,
                () = store.wait_for_work(kind) => {}
                // Whoever had been woken may have gone while the provider was left alone.
                () = gate.reopened() => {}
            }
        }
    }
}

/// Makes a fetch until it is answered: one whose answer was lost may have handed over jobs, on which nobody works before
/// the same fetch tells of them. So its slots are kept for it, and no gate stands in its way. None: told to drain;
/// what was handed over then goes back when the worker leaves.
async fn until_answered<F>(kind: Kind, drain: &CancellationToken, fetch: impl Fn() -> F) -> Option<Vec<Delivery>>
where
    F: Future<Output = Result<Vec<Delivery>, StoreError>>,
{
    let mut failures = 0;
    loop {
        // Not raced against the drain: a fetch once sent may hand over jobs.
        match fetch().await {
            Ok(deliveries) => return Some(deliveries),
            Err(error) => {
                failures += 1;
                tracing::warn!(%kind, error = &error as &dyn Error, "fetching jobs failed");
                tokio::select! {
                    () = drain.cancelled() => return None,
                    () = sleep(STORE_BACKOFF.wait(failures)) => {}
                }
            }
        }
    }
}
