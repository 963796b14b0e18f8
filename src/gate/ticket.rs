//! What a call to a provider carries from its admission to its outcome.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Gate, Place, Reservation, breaking::Probe};
use crate::{
    domain::{
        answer::Usage,
        failure::{BreakerSignal, Class, Code, Failure},
        spent::Spent,
    },
    resilience::concurrency::Ended,
    telemetry::{
        metrics::{CallInFlight, CallOutcome},
        traces::CallSpan,
    },
};

/// One admitted call. Its outcome is reported once; dropped without one, the call was called off, which says nothing
/// about the provider, and costs what it had come to.
#[must_use]
pub struct Ticket {
    gate: Arc<Gate>,
    generation: u64,
    probe: Option<Probe>,
    reservation: Option<Reservation>,
    place: Option<Place>,
    spent: Spent,
    began: Instant,
    /// When the first token came.
    spoke: Option<Duration>,
    /// Tokens of the answer so far, as estimated.
    heard: u64,
    /// Counted as under way until its outcome is reported.
    in_flight: Option<CallInFlight>,
    /// What is traced of it.
    span: CallSpan,
}

impl Ticket {
    pub(super) fn new(gate: Arc<Gate>, generation: u64, probe: Option<Probe>) -> Self {
        let (began, in_flight) = (Instant::now(), Some(gate.metrics.begin()));
        let span = CallSpan::begin(&gate.callee);
        Self {
            gate,
            generation,
            probe,
            reservation: None,
            place: None,
            spent: Spent::default(),
            began,
            spoke: None,
            heard: 0,
            in_flight,
            span,
        }
    }

    /// The same with what was reserved for the call, its place among those under way, and where its cost is counted.
    pub fn with(mut self, reservation: Reservation, place: Place, spent: Spent) -> Self {
        self.gate.metrics.admitted(reservation.waited());
        self.reservation = Some(reservation);
        self.place = Some(place);
        self.spent = spent;
        self
    }

    /// When the call was let through.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// The call is to be traced with what is asked, as who says what, if the settings say so.
    pub fn asking<'a>(self, messages: impl Iterator<Item = (&'static str, &'a str)>) -> Self {
        self.span.asked(messages);
        self
    }

    /// The first token came: a provider that was to be probed is well again, whatever becomes of the rest.
    pub fn spoke(&mut self) {
        if self.spoke.is_none() {
            let after = self.began.elapsed();
            self.spoke = Some(after);
            self.came();
            self.gate.metrics.first_token(after);
            self.span.spoke(after.as_millis() as u64);
        }
        if let Some(probe) = self.probe.take() {
            probe.succeeded();
        }
    }

    fn came(&self) {
        if let Some(place) = &self.place {
            place.spoke();
        }
    }

    /// So many more tokens came, as estimated.
    pub fn heard(&mut self, tokens: u64) {
        self.heard += tokens;
    }

    /// This much more of the answer came.
    pub fn said(&mut self, text: &str) {
        self.span.said(text);
    }

    /// The answer is whole: who gave it, and why it ended.
    pub fn answered_by(&self, model: &str, finish_reason: &'static str) {
        self.span.answered_by(model, finish_reason);
    }

    /// The call has its whole answer; `usage` is what the provider counted, zeros if it did not.
    pub fn succeeded(mut self, usage: Usage) {
        let latency = self.spoke.unwrap_or_else(|| {
            self.came();
            self.began.elapsed()
        });
        self.end(Ended::Well(latency), CallOutcome::Succeeded);
        self.span.counted(usage);
        match self.probe.take() {
            Some(probe) => probe.succeeded(),
            None => self.gate.breaking.succeeded(self.generation),
        }
        if let Some(reservation) = self.reservation.take() {
            let (usage, counted) = match usage.total_tokens {
                0 => (self.estimate(&reservation), None),
                _ => (usage, Some(usage.prompt_tokens)),
            };
            self.spent.call(&self.gate.provider, usage, true);
            reservation.settle(usage.total_tokens, counted);
        }
    }

    /// The call failed. What the job is told: a probe says so, for it is a deferral whatever it failed with, and who is
    /// put off comes back when the provider may be called again.
    pub fn failed(mut self, mut failure: Failure) -> Failure {
        let ended = match failure.code.breaker() {
            BreakerSignal::RateOnly => Ended::Overloaded,
            BreakerSignal::Failure => Ended::Failed,
            BreakerSignal::Trip | BreakerSignal::Ignored => Ended::Otherwise,
        };
        self.end(ended, (&failure).into());
        self.span.failed(failure.code);
        if let Some(reservation) = self.reservation.take() {
            let costs = self.spoke.is_some() || may_have_cost(failure.code);
            let usage = if costs { self.estimate(&reservation) } else { Usage::default() };
            self.spent.call(&self.gate.provider, usage, false);
            if failure.code == Code::RateLimited {
                reservation.refused();
            } else {
                reservation.settle(usage.total_tokens, None);
            }
        }
        if let Some(probe) = self.probe.take() {
            failure.probe = true;
            probe.failed();
        }
        let others = self.gate.crowd.under_way().saturating_sub(u32::from(self.place.is_some()));
        self.gate.breaking.failed(self.generation, &failure, others);
        if failure.defers() {
            failure.retry_after = failure.retry_after.max(self.gate.breaking.wait());
        }
        if failure.probe && failure.class() == Class::Transient {
            // Else nobody would know why this one used no attempt.
            failure.message.push_str(" (while the provider was being tried again)");
        }
        failure
    }

    /// What the call has cost so far, by our own count.
    const fn estimate(&self, reservation: &Reservation) -> Usage {
        let (prompt_tokens, completion_tokens) = (reservation.prompt(), self.heard);
        Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }

    fn end(&mut self, ended: Ended, outcome: CallOutcome) {
        if let Some(place) = &mut self.place {
            place.ended = ended;
        }
        self.in_flight = None;
        self.gate.metrics.ended(outcome, self.began.elapsed());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.in_flight.is_some() {
            self.end(Ended::Otherwise, CallOutcome::Cancelled);
            self.span.called_off();
        }
        if let Some(reservation) = self.reservation.take() {
            let usage = self.estimate(&reservation);
            self.spent.call(&self.gate.provider, usage, false);
            reservation.settle(usage.total_tokens, None);
        }
    }
}

/// Whether a provider may have worked on a call that failed so before its first token.
const fn may_have_cost(code: Code) -> bool {
    matches!(
        code,
        Code::ProviderTimeout | Code::StreamStalled | Code::StreamCut | Code::EmptyAnswer | Code::ProviderGarbled
    )
}
