//! What a call to a provider carries from its admission to its outcome.

use std::sync::Arc;

use super::{Gate, Probe};
use crate::domain::failure::{Class, Code, Failure};

/// One admitted call. Its outcome is reported once; dropped without one, the call was called off, which says nothing
/// about the provider.
#[must_use]
pub struct Ticket {
    gate: Arc<Gate>,
    generation: u64,
    probe: Option<Probe>,
}

impl Ticket {
    pub(super) const fn new(gate: Arc<Gate>, generation: u64) -> Self {
        Self { gate, generation, probe: None }
    }

    pub(super) const fn probe(gate: Arc<Gate>, probe: Probe) -> Self {
        Self { gate, generation: probe.generation, probe: Some(probe) }
    }

    /// The first token came: a provider that was to be probed is well again, whatever becomes of the rest.
    pub fn spoke(&mut self) {
        if let Some(mut probe) = self.probe.take() {
            probe.told = true;
            self.gate.probe_succeeded(self.generation);
        }
    }

    /// The call has its whole answer.
    pub fn succeeded(mut self) {
        if self.probe.is_some() {
            return self.spoke();
        }
        self.gate.succeeded(self.generation);
    }

    /// The call failed. What the job is told: a failed probe is a deferral whatever it failed with, and who is put off
    /// comes back when the provider may be called again.
    pub fn failed(mut self, failure: Failure) -> Failure {
        let probed = self.probe.take().is_some_and(|mut probe| {
            probe.told = true;
            true
        });
        self.gate.failed(self.generation, &failure);
        let wait = failure.retry_after.max(self.gate.wait());
        match failure.class() {
            Class::Transient if probed => {
                let message = format!("{} (while the provider was being tried again)", failure.message);
                Failure::new(Code::BreakerOpen, message).with_retry_after(wait).with_source(failure)
            }
            Class::Overloaded | Class::ProviderUnusable => failure.with_retry_after(wait),
            Class::Transient | Class::Permanent => failure,
        }
    }
}
