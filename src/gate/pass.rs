//! What stands between the queue and a worker's slots: jobs that could not call their provider are not fetched.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures::future::{pending, select_all};
use tokio::time::sleep;

use super::{Gate, crowd::Fetched, spending::Foresight};
use crate::resilience::breaker::Admission;

/// The gates of which one must be open for jobs of a kind to be fetched; with none, all are fetched.
#[derive(Clone, Default)]
pub struct KindGate(Vec<Arc<Gate>>);

/// The right to fetch one job, to be kept with it until it is settled.
#[must_use]
#[derive(Default)]
pub struct Pass {
    /// The gate whose probe was claimed for this job, and the probe's generation.
    probe: Option<(Arc<Gate>, u64)>,
    _fetched: Option<Fetched>,
    _foresight: Option<Foresight>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("probes", &self.probe.is_some()).finish_non_exhaustive()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, generation)) = self.probe.take() {
            // Unless the job has made its call: then it lies with the call's outcome.
            gate.breaking.withdraw(generation);
        }
    }
}

/// How long nothing can be fetched.
type Wait = Option<Duration>;

impl KindGate {
    pub(super) const fn new(gates: Vec<Arc<Gate>>) -> Self {
        Self(gates)
    }

    /// Resolves when jobs may be fetched, with passes for at most `most` of them: no more than the first provider that
    /// is open can be asked to answer now. While all wait for their probe there is one pass in the whole deployment,
    /// and no further one before its job has shown how the provider is. Dropped early, it leaves nothing behind but
    /// what its lease and the passing of time take back.
    pub async fn passes(&self, most: usize) -> Vec<Pass> {
        loop {
            let changed = self.changed();
            if self.0.is_empty() {
                return std::iter::repeat_with(Pass::default).take(most).collect();
            }
            let wait = match self.open(most).await {
                Ok(passes) => return passes,
                Err(wait) => wait,
            };
            if let Some(pass) = self.probe().await {
                return vec![pass];
            }
            tokio::select! {
                () = changed => {}
                () = waited(wait) => {}
            }
        }
    }

    /// Passes of the first gate that is open, has room and can be paid; else how long until that may change by itself.
    async fn open(&self, most: usize) -> Result<Vec<Pass>, Wait> {
        let mut shortest: Wait = None;
        let mut note = |wait: Duration| shortest = Some(shortest.map_or(wait, |shortest| shortest.min(wait)));
        for gate in &self.0 {
            match gate.breaking.admission().0 {
                Admission::Wait(wait) => note(wait),
                Admission::ProbeDue => {}
                Admission::Closed => {
                    gate.follow();
                    let room = gate.crowd.room().min(most);
                    if room == 0 {
                        continue;
                    }
                    match gate.spending.foresee(room).await {
                        Ok(foresights) => {
                            return Ok(foresights.into_iter().map(|foresight| Pass::of(gate, foresight)).collect());
                        }
                        Err(wait) => note(wait),
                    }
                }
            }
        }
        Err(shortest)
    }

    /// The pass for a probe. Only while no provider is open: else the calls of running jobs make the probes.
    async fn probe(&self) -> Option<Pass> {
        if self.is_open() {
            return None;
        }
        let due = self.0.iter().find(|gate| gate.breaking.admission().0 == Admission::ProbeDue)?;
        let generation = due.breaking.offer(due.breaking.claim().await?);
        Some(Pass { probe: Some((due.clone(), generation)), _fetched: None, _foresight: None })
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
        self.0.iter().any(|gate| gate.breaking.admission().0 == Admission::Closed)
    }

    /// Resolves at the next change of any of the gates, counted from this call on.
    fn changed(&self) -> impl Future<Output = ()> + use<> {
        let all = self.0.iter().flat_map(|gate| {
            [gate.breaking.changes(), gate.spending.changes(), gate.crowd.changes()].map(|mut changes| {
                Box::pin(async move {
                    // An error says that the process ends.
                    if changes.changed().await.is_err() {
                        pending::<()>().await;
                    }
                })
            })
        });
        let all: Vec<_> = all.collect();
        async move {
            if all.is_empty() {
                pending::<()>().await;
            }
            select_all(all).await;
        }
    }
}

impl Pass {
    fn of(gate: &Arc<Gate>, foresight: Foresight) -> Self {
        Self { probe: None, _fetched: Some(gate.crowd.job()), _foresight: Some(foresight) }
    }
}

async fn waited(wait: Wait) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => pending().await,
    }
}
