//! Housekeeping beside the work: promoting, reaping, retention, sweeping superseded chunks from the index.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::STORE_BACKOFF;
use crate::{index::PassageIndex, queue::SharedJobStore};

/// The longest sleep between two rounds.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How often superseded chunks are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Keeps the store in order until stopped; wakes at once when told that something was scheduled. `lease` is how long
/// a worker may be silent: how late that is noticed is a part of it.
pub async fn keep(store: SharedJobStore, wake: Arc<Notify>, lease: Duration, stop: CancellationToken) {
    let longest_sleep = LONGEST_SLEEP.min(lease / 4);
    let mut failures = 0;
    loop {
        let wait = match round(&store, longest_sleep).await {
            Ok(wait) => {
                failures = 0;
                wait
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = &error as &dyn Error, "housekeeping failed");
                STORE_BACKOFF.wait(failures)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn round(store: &SharedJobStore, longest_sleep: Duration) -> crate::queue::Result<Duration> {
    let done = store.upkeep().await?;
    if done.leases_lost > 0 || done.deadlines.total() > 0 {
        tracing::warn!(
            leases_lost = done.leases_lost,
            poisoned = done.poisoned.total(),
            deadlines = done.deadlines.total(),
            "jobs taken back or buried"
        );
    }
    Ok(done.next_due.map_or(longest_sleep, |due| due.min(longest_sleep)))
}

/// Removes superseded chunks from the index until stopped.
pub async fn sweep(store: SharedJobStore, index: Arc<dyn PassageIndex>, stop: CancellationToken) {
    // A round may take long after many deletions: it is left where it is, and the next process goes on.
    while let Some(swept) = stop.run_until_cancelled(sweep_once(&store, index.as_ref())).await {
        if let Err(error) = swept {
            tracing::warn!(error = &error as &dyn Error, "sweeping superseded chunks failed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

/// One round of sweeping: every document that has something left over, a hundred at a time.
pub async fn sweep_once(
    store: &SharedJobStore,
    index: &dyn PassageIndex,
) -> Result<(), crate::domain::failure::Failure> {
    loop {
        let leftovers = store.leftovers(100).await?;
        if leftovers.is_empty() {
            return Ok(());
        }
        for leftover in leftovers {
            index.remove_versions(&leftover.tenant, &leftover.document_id, leftover.keep).await?;
            store.swept(&leftover).await?;
        }
    }
}
