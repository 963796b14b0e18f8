//! One delivery: the use case of its kind, ended early by a lost lease, a deadline or the worker's leaving.

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        failure::{Code, Failure},
        ids::Lease,
        job::{Delivery, Kind, Status},
    },
    queue::{Finish, SharedJobStore},
    rag::{Halt, ask::Ask, ingest::Ingest},
};

/// The use cases a worker runs.
pub struct Processor {
    store: SharedJobStore,
    ask: Ask,
    ingest: Ingest,
}

impl Processor {
    /// A processor of all kinds of jobs.
    pub fn new(store: SharedJobStore, ask: Ask, ingest: Ingest) -> Self {
        Self { store, ask, ingest }
    }

    /// Each use case is boxed by itself: side by side in one future, a question, of which thousands wait at a
    /// time, would take up as much memory as taking in a document.
    async fn run(&self, delivery: &Delivery) -> Result<Finish, Halt> {
        match delivery.kind {
            Kind::Chat => Box::pin(self.ask.run(delivery)).await,
            Kind::Ingest => Box::pin(self.ingest.run(delivery)).await,
            Kind::Replay => Err(Failure::new(Code::UndecodablePayload, "replay jobs are not run by workers").into()),
        }
    }
}

/// Works on one delivery and says what the job is to be finished with. Whatever ends it early drops the
/// use case on the spot, which closes its connections.
pub async fn step(processor: &Processor, delivery: &Delivery, leaving: &CancellationToken) -> Result<Finish, Halt> {
    let deadline = async {
        match delivery.remaining {
            Some(remaining) => sleep(remaining).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // In this order: an answer that is there is kept, whatever else happens in the same moment.
        biased;
        result = processor.run(delivery) => result,
        () = lease_lost(&processor.store, &delivery.lease) => Err(Halt::LeaseLost),
        () = deadline => Err(Failure::new(Code::DeadlineExceeded, "the job was not done by its deadline").into()),
        () = leaving.cancelled() => Err(Halt::Leaving),
    }
}

/// Resolves when the job is no longer ours to work on: it was cancelled, or taken back.
async fn lease_lost(store: &SharedJobStore, lease: &Lease) {
    let mut watch = store.watch_delivery(lease);
    while watch.changed().await.status.is_none_or(|status| status == Status::Running) {}
}
