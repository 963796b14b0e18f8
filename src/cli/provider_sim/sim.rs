//! The simulated provider's state, and one call's way through it: arrived, admitted or refused, ended.
//!
//! A [`Call`] is held for as long as its reply is under way; dropping it settles what it was charged and counts how
//! it ended, also when the caller went away and nobody drives its reply any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    fault::{Fault, Happening, Operation},
    limits::{Bucket, Limits, OverLimit, Standing},
    plan::Plan,
    stats::{Counted, Stats},
};

/// A simulated provider.
#[derive(Debug)]
pub(super) struct Sim {
    at_start: Plan,
    state: Mutex<State>,
    /// Set when it is to end: what would be silent for ever ends too.
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    plan: Arc<Plan>,
    /// When the plan was made.
    since: Instant,
    /// How many calls each of the plan's faults concerned so far.
    concerned: Vec<u64>,
    limits: Limits,
    in_flight: u64,
    counted: Counted,
}

impl State {
    fn follow(&mut self, plan: Plan, now: Instant) {
        // A limit that stays the same goes on as it stands.
        if plan.requests_per_minute != self.plan.requests_per_minute {
            self.limits.requests = plan.requests_per_minute.map(|limit| Bucket::new(limit, now));
        }
        if plan.tokens_per_minute != self.plan.tokens_per_minute {
            self.limits.tokens = plan.tokens_per_minute.map(|limit| Bucket::new(limit, now));
        }
        self.concerned = vec![0; plan.faults.len()];
        self.since = now;
        self.plan = Arc::new(plan);
    }

    /// The fault that this call meets, if any.
    fn fault(&mut self, operation: Operation, now: Instant) -> Option<Fault> {
        let since = now.saturating_duration_since(self.since);
        let plan = Arc::clone(&self.plan);
        let mut concerned =
            plan.faults.iter().zip(&mut self.concerned).filter(|(fault, _)| fault.concerns(operation, since));
        concerned.find_map(|(fault, calls)| {
            *calls += 1;
            fault.meets(*calls).then(|| fault.clone())
        })
    }
}

/// Why a call is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It does not show the key.
    Key,
    /// A fault refuses it.
    Fault(Fault),
    /// The limits don't admit it.
    Limit(OverLimit),
}

impl Sim {
    pub(super) fn new(plan: Plan) -> anyhow::Result<Self> {
        let now = Instant::now();
        let limits = Limits {
            requests: plan.requests_per_minute.map(|limit| Bucket::new(limit, now)),
            tokens: plan.tokens_per_minute.map(|limit| Bucket::new(limit, now)),
        };
        let state = State {
            concerned: vec![0; plan.faults.len()],
            plan: Arc::new(plan.clone()),
            since: now,
            limits,
            in_flight: 0,
            counted: Counted::new(0, now)?,
        };
        Ok(Self { at_start: plan, state: Mutex::new(state), stop: CancellationToken::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan in force.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.state().plan)
    }

    /// Goes on by the plan of the start with these changes.
    pub(super) fn change(&self, change: serde_json::Map<String, serde_json::Value>) -> Result<Arc<Plan>, String> {
        let plan = self.at_start.with(change)?;
        let mut state = self.state();
        state.follow(plan, Instant::now());
        Ok(Arc::clone(&state.plan))
    }

    /// What was counted.
    pub(super) fn stats(&self) -> Stats {
        let state = self.state();
        state.counted.stats(state.in_flight, Instant::now())
    }

    /// What was counted; counting begins anew.
    pub(super) fn take_stats(&self) -> anyhow::Result<Stats> {
        let now = Instant::now();
        let mut state = self.state();
        let fresh = Counted::new(state.in_flight, now)?;
        Ok(std::mem::replace(&mut state.counted, fresh).stats(state.in_flight, now))
    }

    /// A call came.
    pub(super) fn arrived(self: &Arc<Self>, operation: Operation) -> Call {
        let mut state = self.state();
        state.in_flight += 1;
        let in_flight = state.in_flight;
        state.counted.arrived(operation, in_flight, Instant::now());
        let plan = Arc::clone(&state.plan);
        Call { sim: Arc::clone(self), plan, operation, charged: 0, prompt: 0, said: 0, over: false }
    }
}

/// One call under way.
#[derive(Debug)]
pub(super) struct Call {
    sim: Arc<Sim>,
    /// The plan it is replied to by.
    pub(super) plan: Arc<Plan>,
    operation: Operation,
    charged: u64,
    prompt: u64,
    said: u64,
    over: bool,
}

impl Call {
    /// Charges the tokens of its prompt and those that may be said; the fault that will break its reply, if any.
    pub(super) fn admit(&mut self, key: Option<&str>, prompt: u64, may_say: u64) -> Result<Option<Fault>, Refusal> {
        if self.plan.api_key.as_deref().is_some_and(|demanded| key != Some(demanded)) {
            return Err(Refusal::Key);
        }
        let now = Instant::now();
        let mut state = self.sim.state();
        let fault = state.fault(self.operation, now);
        if let Some(fault) = fault.as_ref().filter(|fault| fault.happening.refuses()) {
            state.counted.failed(fault.happening.as_str());
            return Err(Refusal::Fault(fault.clone()));
        }
        state.limits.admit(prompt + may_say, now).map_err(Refusal::Limit)?;
        if let Some(fault) = &fault {
            state.counted.failed(fault.happening.as_str());
        }
        (self.charged, self.prompt) = (prompt + may_say, prompt);
        Ok(fault)
    }

    /// How the limits stand now.
    pub(super) fn standing(&self) -> [Option<Standing>; 2] {
        self.sim.state().limits.standing(Instant::now())
    }

    /// Its reply begins.
    pub(super) fn replied(&self, status: u16) {
        self.sim.state().counted.replied(status);
    }

    /// So many tokens more are said.
    pub(super) const fn said(&mut self, tokens: u64) {
        self.said += tokens;
    }

    /// Its reply is over, as far as the provider is concerned.
    pub(super) const fn over(&mut self) {
        self.over = true;
    }

    /// Silence, until the provider ends or the caller has gone.
    pub(super) async fn silence(&self) {
        self.sim.stop.cancelled().await;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.sim.state();
        state.in_flight -= 1;
        state.limits.settle(self.charged, self.prompt + self.said, Instant::now());
        state.counted.ended(self.prompt, self.said, !self.over);
    }
}

impl Happening {
    /// Whether there is no reply but an error.
    const fn refuses(self) -> bool {
        match self {
            Self::Status(_) | Self::Quota => true,
            Self::Stall | Self::Cut | Self::Garbage => false,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Quota => "quota",
            Self::Stall => "stall",
            Self::Cut => "cut",
            Self::Garbage => "garbage",
        }
    }
}
