//! The apalis worker of one kind of job, put together: driver, service stack, drain.

use std::sync::Arc;

use apalis::layers::catch_panic::CatchPanicLayer;
use apalis_core::{
    error::BoxDynError,
    task::data::Data,
    worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt},
};
use futures::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::timeout::TimeoutLayer;
use tracing::Instrument as _;

use super::{
    Handler, KindSettings, Stop, WorkerError,
    backend::{Handed, StoreBackend, drive},
    process,
    settle::SettleLayer,
};
use crate::{
    domain::{ids::WorkerId, job::Kind},
    gate::KindGate,
    queue::{Finish, SharedJobStore},
    resilience::decision::RetryPolicy,
    telemetry::metrics::Metrics,
};

/// All that the worker of one kind needs.
pub(super) struct KindWorker {
    pub(super) store: SharedJobStore,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) worker: WorkerId,
    pub(super) kind: Kind,
    pub(super) gate: KindGate,
    pub(super) settings: KindSettings,
    pub(super) policy: RetryPolicy,
    pub(super) stop: Stop,
    pub(super) upkeep: Arc<Notify>,
    pub(super) tracker: TaskTracker,
    pub(super) metrics: Metrics,
}

/// What the handler is given beside the delivery.
#[derive(Clone)]
struct Bench {
    handler: Arc<dyn Handler>,
    store: SharedJobStore,
    leaving: CancellationToken,
}

async fn handle(handed: Handed, bench: Data<Bench>) -> Result<Finish, BoxDynError> {
    let delivery = &handed.delivery;
    let step = process::step(bench.handler.as_ref(), &bench.store, delivery, &handed.spent, &bench.leaving);
    Ok(step.instrument(handed.attempt.clone()).instrument(handed.span.clone()).await?)
}

/// Runs until drained. Of apalis' layers only those that are right for a durable queue are in use: retry,
/// concurrency limit, breaker and acknowledgement live in the job store.
pub(super) fn run(worker: KindWorker) -> BoxFuture<'static, Result<(), WorkerError>> {
    let slots = Arc::new(Semaphore::new(worker.settings.slots as usize));
    let (sender, receiver) = mpsc::channel(worker.settings.slots.max(1) as usize);
    let settle = SettleLayer {
        store: worker.store.clone(),
        policy: worker.policy,
        upkeep: worker.upkeep.clone(),
        metrics: worker.metrics,
        give_up: worker.stop.hand_back.clone(),
    };
    let bench = Bench { handler: worker.handler, store: worker.store.clone(), leaving: worker.stop.hand_back };
    let driver = worker.tracker.spawn(drive(
        worker.store,
        worker.worker.clone(),
        worker.kind,
        worker.gate,
        slots,
        sender,
        worker.stop.drain.clone(),
    ));
    let tracker = worker.tracker.clone();
    // The earlier call is the outer layer: each delivery is a task of its own, in it the time limit, in
    // that the catching of panics. The settling layer is the backend's own and stands outside them all.
    let working = WorkerBuilder::new(format!("{}/{}", worker.worker, worker.kind).as_str())
        .backend(StoreBackend::new(receiver, settle))
        .data(bench)
        .parallelize(move |future| tracker.spawn(future))
        .layer(TimeoutLayer::new(worker.settings.timeout))
        .layer(CatchPanicLayer::new())
        .build(handle)
        .run();
    // Boxed before it is awaited: inside an async block the compiler can't show that this type is `Send`.
    let working: BoxFuture<'static, Result<(), apalis_core::error::WorkerError>> = Box::pin(working);
    Box::pin(async move {
        working.await?;
        driver.await?;
        Ok(())
    })
}
