//! The budget of one gate: foreseen before jobs are fetched, reserved before calls, settled after them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::shared::{Machine, Shared, Urgency};
use crate::{
    domain::{
        clock::Timestamp,
        failure::{Code, Failure},
    },
    resilience::budget::{Budget, BudgetAnswer, BudgetEvent, BudgetRules, RateHeaders},
};

impl Machine for Budget {
    type Event = BudgetEvent;
    type Answer = BudgetAnswer;
    type Turn = Infallible;
    type Rules = BudgetRules;

    fn apply(
        &mut self,
        event: &BudgetEvent,
        now: Timestamp,
        rules: &BudgetRules,
    ) -> (BudgetAnswer, Option<Infallible>) {
        (Self::apply(self, event, now, rules), None)
    }

    /// What was spent without the store is forgotten with the minute in which it was: only half of it may be known, a
    /// reservation or its settlement.
    fn outlasts(event: &BudgetEvent) -> bool {
        matches!(event, BudgetEvent::Learned(_))
    }

    fn merge(into: &mut BudgetEvent, event: &BudgetEvent) -> bool {
        match (into, event) {
            (
                BudgetEvent::Returned { calls, tokens },
                BudgetEvent::Returned { calls: more_calls, tokens: more_tokens },
            ) => {
                *calls += more_calls;
                *tokens += more_tokens;
                true
            }
            _ => false,
        }
    }

    /// Whoever spends reads anew: others need to hear only that there is a limit now, or that all is spent.
    fn is_news(&self, before: &Self) -> bool {
        self.learned() != before.learned()
    }
}

/// What a call may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Tokens of its prompt, as estimated.
    pub prompt: u64,
    /// Tokens of the longest answer it allows.
    pub longest_answer: u64,
}

/// One gate's budget.
pub(super) struct Spending {
    shared: Arc<Shared<Budget>>,
    foreseen: Mutex<Foreseen>,
}

/// What was put aside for jobs that were fetched.
#[derive(Debug, Default)]
struct Foreseen {
    /// Jobs with something put aside.
    jobs: usize,
    /// What their calls have not taken yet; which of it is whose does not matter.
    unused: Vec<u64>,
}

impl Spending {
    pub(super) fn new(shared: Arc<Shared<Budget>>) -> Self {
        Self { shared, foreseen: Mutex::default() }
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changes()
    }

    fn foreseen(&self) -> MutexGuard<'_, Foreseen> {
        // Nothing panics while the lock is held.
        self.foreseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_limited(&self) -> bool {
        self.shared.look(|budget, _| budget.is_limited(self.shared.rules()))
    }

    /// Puts aside what up to `most` jobs will cost. Else how long until one can be paid.
    pub(super) async fn foresee(self: &Arc<Self>, most: usize) -> Result<Vec<Foresight>, Duration> {
        let unlimited = || (0..most).map(|_| Foresight(None)).collect();
        if !self.is_limited() {
            return Ok(unlimited());
        }
        let wait = self.shared.look(|budget, now| budget.wait(now, self.shared.rules()));
        if !wait.is_zero() {
            return Err(wait);
        }
        match self.shared.ask(BudgetEvent::Foreseen { calls: most as u32 }).await {
            Some(BudgetAnswer::Granted { calls, tokens, .. }) => {
                let mut foreseen = self.foreseen();
                foreseen.jobs += calls as usize;
                foreseen.unused.extend((0..calls).map(|_| tokens));
                drop(foreseen);
                Ok((0..calls).map(|_| Foresight(Some(self.clone()))).collect())
            }
            Some(BudgetAnswer::Refused { after }) => Err(after),
            Some(BudgetAnswer::TooLarge { .. } | BudgetAnswer::Noted) | None => Ok(unlimited()),
        }
    }

    /// Reserves what a call may cost; waits for its turn for as long as its `patience` lasts.
    pub(super) async fn reserve(self: &Arc<Self>, cost: Cost, patience: Duration) -> Result<Reservation, Failure> {
        let tokens = self.shared.look(|budget, _| budget.cost(cost.prompt, cost.longest_answer));
        let prompt = tokens.saturating_sub(cost.longest_answer);
        let asked = Instant::now();
        let reservation = |reserved| Reservation {
            spending: self.clone(),
            estimated: cost.prompt,
            prompt,
            reserved,
            asked,
            settled: false,
        };
        if !self.is_limited() {
            return Ok(reservation(None));
        }
        let foreseen = self.foreseen().unused.pop();
        match self.shared.ask(BudgetEvent::Reserved { tokens, foreseen, patience }).await {
            Some(BudgetAnswer::Granted { after, .. }) => {
                let reserved = reservation(Some(tokens));
                sleep(after).await;
                Ok(reserved)
            }
            Some(BudgetAnswer::Refused { after }) => {
                self.give_back(foreseen);
                let message = "what the provider allows in a minute is used up for now";
                Err(Failure::new(Code::BudgetExhausted, message).with_retry_after(Some(after)))
            }
            Some(BudgetAnswer::TooLarge { limit }) => {
                self.give_back(foreseen);
                let message = format!(
                    "the call may take {tokens} tokens, more than the {limit} that the provider allows in a minute"
                );
                Err(Failure::new(Code::LargerThanBudget, message))
            }
            Some(BudgetAnswer::Noted) | None => Ok(reservation(None)),
        }
    }

    fn give_back(&self, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            self.shared.tell(BudgetEvent::Returned { calls: 1, tokens }, Urgency::Soon);
        }
    }

    /// Learns from what a reply says of the provider's limits.
    pub(super) fn learn(&self, headers: RateHeaders) {
        if self.shared.look(|budget, _| budget.would_learn(&headers, self.shared.rules())) {
            self.shared.tell(BudgetEvent::Learned(headers), Urgency::Now);
        }
    }
}

/// What was put aside for one job; given back with it, unless its call has taken it.
pub(super) struct Foresight(Option<Arc<Spending>>);

impl Drop for Foresight {
    fn drop(&mut self) {
        if let Some(spending) = self.0.take() {
            let mut foreseen = spending.foreseen();
            foreseen.jobs -= 1;
            let unused = if foreseen.unused.len() > foreseen.jobs { foreseen.unused.pop() } else { None };
            drop(foreseen);
            spending.give_back(unused);
        }
    }
}

/// What was reserved for one call; given back if the call is not made.
pub struct Reservation {
    spending: Arc<Spending>,
    /// The prompt's tokens as estimated, and as the provider will probably count them.
    estimated: u64,
    prompt: u64,
    /// None: there is no limit.
    reserved: Option<u64>,
    /// Since when the call has been on its way through the gate.
    asked: Instant,
    settled: bool,
}

impl Reservation {
    /// The prompt's tokens, as the provider will probably count them.
    pub(super) const fn prompt(&self) -> u64 {
        self.prompt
    }

    /// How long the call has been on its way through the gate.
    pub(super) fn waited(&self) -> Duration {
        self.asked.elapsed()
    }

    /// The call is over and cost this; `counted` is its prompt as the provider counted it.
    pub(super) fn settle(mut self, used: u64, counted: Option<u64>) {
        self.settled = true;
        if let Some(reserved) = self.reserved {
            let prompt = counted.map(|counted| (self.estimated, counted));
            self.spending.shared.tell(BudgetEvent::Settled { reserved, used, prompt }, Urgency::Soon);
        }
    }

    /// The provider refused the call for its rate.
    pub(super) fn refused(self) {
        let drained = self.reserved.map(|_| self.spending.clone());
        self.settle(0, None);
        if let Some(spending) = drained {
            spending.shared.tell(BudgetEvent::Drained, Urgency::Now);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.spending.give_back(self.reserved);
        }
    }
}
