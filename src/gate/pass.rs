//! What stands between the queue and a worker's slots: jobs that could not call their provider are not fetched.

use std::{fmt, future::Future, sync::Arc};

use futures::future::{pending, select_all};
use tokio::time::sleep;

use super::Gate;
use crate::resilience::breaker::Admission;

/// The gates of which one must be open for jobs of a kind to be fetched; with none, all are fetched.
#[derive(Clone, Default)]
pub struct KindGate(Vec<Arc<Gate>>);

/// The right to fetch one job, to be kept with it until it is settled.
#[must_use]
pub struct Pass {
    /// The gate whose probe was claimed for this job, and the probe's generation.
    probe: Option<(Arc<Gate>, u64)>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("probes", &self.probe.is_some()).finish()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, generation)) = self.probe.take() {
            // Unless the job has made its call: then it lies with the call's outcome.
            let unused = {
                let mut offered = gate.offered();
                if offered.as_ref().is_some_and(|probe| probe.generation == generation) { offered.take() } else { None }
            };
            drop(unused);
        }
    }
}

/// Some passes: as many jobs may be fetched.
pub type Passes = Vec<Pass>;

impl KindGate {
    pub(super) const fn new(gates: Vec<Arc<Gate>>) -> Self {
        Self(gates)
    }

    /// Resolves when jobs may be fetched, with passes for at most `most` of them. While a provider waits for its probe
    /// there is one pass in the whole deployment, and no further one before its job has shown how the provider is.
    /// Dropped early, it leaves nothing behind.
    pub async fn passes(&self, most: usize) -> Passes {
        loop {
            let changed = self.changed();
            let admissions: Vec<Admission> = self.0.iter().map(|gate| gate.admission().0).collect();
            if self.0.is_empty() || admissions.contains(&Admission::Closed) {
                return std::iter::repeat_with(|| Pass { probe: None }).take(most).collect();
            }
            if let Some(due) = admissions.iter().position(|admission| *admission == Admission::ProbeDue)
                && let Some(probe) = self.0[due].claim().await
            {
                let (gate, generation) = (self.0[due].clone(), probe.generation);
                // One that was offered before and not taken is given up.
                drop(gate.offered().replace(probe));
                return vec![Pass { probe: Some((gate, generation)) }];
            }
            tokio::select! {
                () = changed => {}
                () = self.waited() => {}
            }
        }
    }

    /// Resolves when a provider that was left alone may be called again: whoever waits for work had better look.
    pub async fn reopened(&self) {
        let mut was_open = self.is_open();
        loop {
            let changed = self.changed();
            let open = self.is_open();
            if open && !was_open {
                return;
            }
            was_open = open;
            changed.await;
        }
    }

    fn is_open(&self) -> bool {
        self.0.iter().any(|gate| gate.admission().0 == Admission::Closed)
    }

    /// Resolves at the next change of any of the gates, counted from this call on.
    fn changed(&self) -> impl Future<Output = ()> + use<> {
        let changes = self.0.iter().map(|gate| {
            let mut changes = gate.changes();
            Box::pin(async move {
                // An error says that the process ends.
                if changes.changed().await.is_err() {
                    pending::<()>().await;
                }
            })
        });
        let changes: Vec<_> = changes.collect();
        async move {
            if changes.is_empty() {
                pending::<()>().await;
            }
            select_all(changes).await;
        }
    }

    /// Resolves when the first pause or probe lease is over.
    async fn waited(&self) {
        match self.0.iter().filter_map(|gate| gate.wait()).min() {
            Some(wait) => sleep(wait).await,
            None => pending().await,
        }
    }
}
