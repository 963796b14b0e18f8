//! One delivery: what its handler makes of it, ended early by a lost lease, a deadline or the worker's leaving.

use futures::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::STORE_BACKOFF;
use crate::{
    domain::{
        failure::{Code, Failure},
        ids::Lease,
        job::{Delivery, Kind, Status},
        spent::Spent,
    },
    queue::{Finish, SharedJobStore},
    rag::{Halt, ask::Ask, ingest::Ingest},
};

/// What a worker does with a delivery.
pub trait Handler: Send + Sync {
    /// Works on it and says what the job is to be finished with; may be dropped at any point. What its calls to
    /// providers cost is counted in `spent`.
    fn handle<'a>(&'a self, delivery: &'a Delivery, spent: &'a Spent) -> BoxFuture<'a, Result<Finish, Halt>>;
}

/// The use cases of ragq.
pub struct Processor {
    ask: Ask,
    ingest: Ingest,
}

impl Processor {
    /// A processor of all kinds of jobs.
    pub fn new(ask: Ask, ingest: Ingest) -> Self {
        Self { ask, ingest }
    }
}

impl Handler for Processor {
    /// Each use case is boxed by itself: side by side in one future, a question, of which thousands wait at a
    /// time, would take up as much memory as taking in a document.
    fn handle<'a>(&'a self, delivery: &'a Delivery, spent: &'a Spent) -> BoxFuture<'a, Result<Finish, Halt>> {
        match delivery.kind {
            Kind::Chat => Box::pin(self.ask.run(delivery, spent)),
            Kind::Ingest => Box::pin(self.ingest.run(delivery, spent)),
            Kind::Replay => {
                let failure = Failure::new(Code::UndecodablePayload, "replays are run by the API");
                Box::pin(std::future::ready(Err(failure.into())))
            }
        }
    }
}

/// Works on one delivery and says what the job is to be finished with. Whatever ends it early drops the
/// handler on the spot, which closes its connections.
pub(super) async fn step(
    handler: &dyn Handler,
    store: &SharedJobStore,
    delivery: &Delivery,
    spent: &Spent,
    leaving: &CancellationToken,
) -> Result<Finish, Halt> {
    let deadline = async {
        match delivery.remaining {
            Some(remaining) => sleep(remaining).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // In this order: an answer that is there is kept, whatever else happens in the same moment.
        biased;
        result = handler.handle(delivery, spent) => result,
        halt = lease_lost(store, &delivery.lease) => Err(halt),
        () = deadline => Err(Failure::new(Code::DeadlineExceeded, "the job was not done by its deadline").into()),
        () = leaving.cancelled() => Err(Halt::Leaving),
    }
}

/// Resolves when the job is no longer ours to work on, with why: it was cancelled, or taken back. What is heard of the job
/// only says to look: it may be about an earlier delivery of it to this same worker.
async fn lease_lost(store: &SharedJobStore, lease: &Lease) -> Halt {
    let mut watch = store.watch_delivery(lease);
    loop {
        let heard = loop {
            match watch.changed().await.status {
                None | Some(Status::Running) => {}
                Some(status) => break status,
            }
        };
        let mut failures = 0;
        loop {
            match store.holds(lease).await {
                Ok(true) => break,
                Ok(false) if heard == Status::Cancelled => return Halt::Cancelled,
                Ok(false) => return Halt::LeaseLost,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(%error, "whether a lease holds is not known yet");
                    sleep(STORE_BACKOFF.wait(failures)).await;
                }
            }
        }
    }
}
