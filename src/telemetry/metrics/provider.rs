//! What one provider does at one operation.

use std::time::Duration;

use super::{
    Metrics,
    words::{BreakerState, CallOutcome, Fate, Operation, Provider, Refusal, Side},
};

/// Records what concerns one provider and operation; a clone is one more reference.
#[derive(Clone)]
pub struct ProviderMetrics {
    metrics: Metrics,
    provider: Provider,
    operation: Operation,
}

/// Counts a call as under way until dropped.
pub struct CallInFlight(ProviderMetrics);

impl Drop for CallInFlight {
    fn drop(&mut self) {
        let ProviderMetrics { metrics, provider, operation } = &self.0;
        metrics.process().calls_in_flight.at((*provider, *operation)).decrement(1.0);
    }
}

impl Metrics {
    /// The metrics of a provider, by its name in the settings. One that the settings don't name counts as the last.
    pub fn provider(&self, name: &str, operation: Operation) -> ProviderMetrics {
        let names = &self.0.sets.providers;
        let number = names.iter().position(|known| known == name).unwrap_or(names.len().saturating_sub(1));
        ProviderMetrics { metrics: self.clone(), provider: Provider(number), operation }
    }
}

impl ProviderMetrics {
    /// A call begins; it is under way until the guard is dropped.
    pub fn begin(&self) -> CallInFlight {
        self.metrics.process().calls_in_flight.at((self.provider, self.operation)).increment(1.0);
        CallInFlight(self.clone())
    }

    /// A call ended.
    pub fn ended(&self, outcome: CallOutcome, took: Duration) {
        self.metrics.process().calls.at((self.provider, self.operation, outcome)).increment(1);
        self.metrics.process().call.at((self.provider, self.operation)).record(took);
    }

    /// The first token of an answer came so long after the call began.
    pub fn first_token(&self, after: Duration) {
        self.metrics.process().first_token.at((self.provider,)).record(after);
    }

    /// It is known what became of the tokens of a call.
    pub fn tokens(&self, fate: Fate, prompt: u64, completion: u64) {
        self.metrics.process().tokens.at((self.provider, fate, Side::Prompt)).increment(prompt);
        self.metrics.process().tokens.at((self.provider, fate, Side::Completion)).increment(completion);
    }

    /// A call was let through after waiting for so long.
    pub fn admitted(&self, waited: Duration) {
        self.metrics.process().admission.at((self.provider, self.operation)).record(waited);
    }

    /// ragq itself did not let a call through.
    pub fn refused(&self, cause: Refusal) {
        self.metrics.process().refusals.at((self.provider, self.operation, cause)).increment(1);
    }

    /// This process changed the state of the circuit breaker.
    pub fn breaker_went(&self, to: BreakerState) {
        self.metrics.process().breaker_transitions.at((self.provider, self.operation, to)).increment(1);
    }

    /// The circuit breaker, which all processes share, is in this state; exported by replicas of the API only.
    pub fn breaker_is(&self, state: BreakerState) {
        let Some(deployment) = &self.metrics.0.deployment else { return };
        for each in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen] {
            let value = f64::from(u8::from(each == state));
            deployment.breaker.at((self.provider, self.operation, each)).set(value);
        }
    }
}
