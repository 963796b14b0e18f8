//! The circuit breaker: when a provider is called, when it is left alone, and how it is tried again.
//!
//! A pure state machine whose whole state is a small value, so that all processes of a deployment can share it
//! through a cell of the job store. It knows no clock and no dice: every event brings its instant, every failure
//! its jitter.
//!
//! | state | calls | leaves it |
//! |---|---|---|
//! | closed | all | several failures in a row, and as many as are still under way, or a share of failed calls within the window, trip it; one refusal for overload, or one that says that the provider can't be used, closes the provider at once |
//! | open | none | its pause is over and somebody claims the probe |
//! | half-open | one, the probe | the probe's outcome; or its lease ends with its holder |
//!
//! Failures come sooner than answers: of a hundred calls that were begun together the five that fail may well be the
//! first to end. So calls that are still under way, where the failure is reported, are taken to go well.
//!
//! Every call is admitted under a generation, which rises whenever the breaker opens and whenever a probe is
//! claimed. What a call of an older generation has to report neither closes nor trips anything: it was sent into
//! another state of affairs. Only a longer Retry-After is believed from it.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{
    clock::Timestamp,
    failure::{BreakerSignal, Class, Code},
};

/// The numbers a breaker goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// So many failures in a row trip it.
    pub failures: u32,
    /// So many percent of failed calls within the window trip it.
    pub failure_percent: u32,
    /// Fewer calls than these within the window say nothing about their share.
    pub min_calls: u32,
    /// How far back calls count.
    pub window: Duration,
    /// The first pause; each further one is twice as long.
    pub pause: Duration,
    /// The longest of these pauses.
    pub longest_pause: Duration,
    /// The longest Retry-After that is believed.
    pub longest_retry_after: Duration,
    /// How long a probe may be silent before another may be made: its holder says twice in this time that it lives.
    pub probe_lease: Duration,
}

/// Where a breaker stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    Closed,
    Open {
        until: Timestamp,
    },
    HalfOpen {
        holder: String,
        expires: Timestamp,
    },
}

/// Calls that ended in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    second: i64,
    calls: u32,
    failures: u32,
}

/// Why a provider is not called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The failure that opened the breaker last.
    #[serde(deserialize_with = "Code::deserialize_stored")]
    pub code: Code,
    /// What it said.
    pub message: String,
    /// Since when the breaker has not been closed.
    pub since: Timestamp,
}

/// What happened to a provider, as its breaker is told.
#[derive(Clone, Debug, PartialEq)]
pub enum BreakerEvent {
    /// Calls went well, or a probe's first token came.
    Succeeded {
        /// The generation they were admitted under.
        generation: u64,
        /// How many.
        calls: u32,
    },
    /// A call failed.
    Failed {
        /// The generation it was admitted under.
        generation: u64,
        /// With what.
        code: Code,
        /// In words, for operators.
        message: String,
        /// How long the provider asked to be left alone.
        retry_after: Option<Duration>,
        /// Other calls of the process that reports it, which have not ended.
        under_way: u32,
        /// From 0 to 1, at random: spreads the pauses.
        jitter: f64,
    },
    /// Somebody wants to make the probe.
    Claimed {
        /// Who.
        holder: String,
    },
    /// The probe's holder lives.
    Renewed {
        /// The probe's generation.
        generation: u64,
    },
    /// A probe was not made, or called off before it told anything.
    Abandoned {
        /// Its generation.
        generation: u64,
    },
}

/// What a breaker says to somebody who wants to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead.
    Closed,
    /// Not before this wait is over.
    Wait(Duration),
    /// The pause is over: whoever claims the probe may make one call.
    ProbeDue,
}

/// Where a breaker stands, in the words of API and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The provider is called.
    Closed,
    /// It is left alone.
    Open,
    /// One call finds out whether it is well again, or is about to.
    HalfOpen,
}

/// One provider's breaker for one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    generation: u64,
    state: State,
    consecutive: u32,
    window: VecDeque<Bucket>,
    /// Openings in a row: what the pause doubles with. Forgotten once it has been closed for a whole window, or as many
    /// calls went well since as say something about their share: who answers that many has not failed all along.
    streak: u32,
    closed_at: Timestamp,
    cause: Option<Cause>,
}

impl Breaker {
    /// The generation under which calls are admitted at present.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a call may be made at `now`.
    pub fn admission(&self, now: Timestamp) -> Admission {
        let until = match &self.state {
            State::Closed => return Admission::Closed,
            State::Open { until } => *until,
            State::HalfOpen { expires, .. } => *expires,
        };
        if now >= until { Admission::ProbeDue } else { Admission::Wait(until.since(now)) }
    }

    /// Whether `holder` has the probe.
    pub fn is_held_by(&self, name: &str) -> bool {
        matches!(&self.state, State::HalfOpen { holder, .. } if holder == name)
    }

    /// Where it was put last, whatever time has passed since.
    pub const fn stage(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Where it stands at `now`. One that waits for its probe counts as half-open.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether it was closed by a probe, less than `window` before `now`.
    pub fn closed_since(&self, now: Timestamp, window: Duration) -> bool {
        self.state == State::Closed && now.since(self.closed_at) < window
    }

    /// How long until the next probe may be made; none unless it is open.
    pub fn retry_in(&self, now: Timestamp) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until.since(now)),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// Why it is not closed.
    pub const fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Failures in a row.
    pub const fn consecutive_failures(&self) -> u32 {
        self.consecutive
    }

    /// Whether reports of success change anything: they are of no use to others while nothing fails.
    pub fn heeds_success(&self) -> bool {
        self.consecutive > 0 || self.window.iter().any(|bucket| bucket.failures > 0)
    }

    /// Whether what others may do changed since it was as `before`; how the calls went so far, and that a probe's
    /// holder lives, they need not know at once.
    pub fn is_news(&self, before: &Self) -> bool {
        let until = |breaker: &Self| match breaker.state {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        };
        self.generation != before.generation || self.cause != before.cause || until(self) != until(before)
    }

    /// Takes note of what happened at `now`. Says whether it was what its teller wanted: a claim may come too late.
    pub fn apply(&mut self, event: &BreakerEvent, now: Timestamp, rules: &BreakerRules) -> bool {
        match event {
            BreakerEvent::Succeeded { generation, calls } => self.succeeded(*generation, *calls, now, rules),
            BreakerEvent::Failed { generation, code, message, retry_after, under_way, jitter } => {
                let asked = retry_after.unwrap_or_default().min(rules.longest_retry_after);
                if *generation == self.generation {
                    if self.opens(*code, *under_way, now, rules) {
                        self.open(*code, message, asked, *jitter, now, rules);
                    }
                } else if let State::Open { until } = &mut self.state {
                    *until = (*until).max(now.plus(asked));
                }
            }
            BreakerEvent::Claimed { holder } => {
                if self.is_held_by(holder) || self.admission(now) != Admission::ProbeDue {
                    return false;
                }
                self.generation += 1;
                self.state = State::HalfOpen { holder: holder.clone(), expires: now.plus(rules.probe_lease) };
            }
            BreakerEvent::Renewed { generation } => {
                if let (true, State::HalfOpen { expires, .. }) = (*generation == self.generation, &mut self.state) {
                    *expires = now.plus(rules.probe_lease);
                }
            }
            BreakerEvent::Abandoned { generation } => {
                if *generation == self.generation && matches!(self.state, State::HalfOpen { .. }) {
                    // Still half-open: the next to claim the probe makes it.
                    self.generation += 1;
                    self.state = State::HalfOpen { holder: String::new(), expires: now };
                }
            }
        }
        true
    }

    fn succeeded(&mut self, generation: u64, calls: u32, now: Timestamp, rules: &BreakerRules) {
        if generation != self.generation {
            return;
        }
        match self.state {
            State::Closed => {
                self.consecutive = 0;
                self.count(calls, 0, now, rules);
            }
            State::HalfOpen { .. } => self.close(now),
            // Nothing is admitted under the generation of an open breaker.
            State::Open { .. } => {}
        }
    }

    /// Takes note of a failure; whether it opens the breaker.
    fn opens(&mut self, code: Code, under_way: u32, now: Timestamp, rules: &BreakerRules) -> bool {
        match self.state {
            State::Open { .. } => false,
            State::HalfOpen { .. } if code.class() == Class::Permanent => {
                // The provider has read the request and answered: it is there.
                self.close(now);
                false
            }
            State::HalfOpen { .. } => true,
            State::Closed => match code.breaker() {
                BreakerSignal::Ignored => false,
                BreakerSignal::Failure => {
                    self.consecutive += 1;
                    self.count(1, 1, now, rules);
                    self.consecutive >= rules.failures.max(under_way) || self.fails_too_often(under_way, rules)
                }
                BreakerSignal::RateOnly | BreakerSignal::Trip => true,
            },
        }
    }

    fn count(&mut self, calls: u32, failures: u32, now: Timestamp, rules: &BreakerRules) {
        let second = now.0.div_euclid(1_000);
        let oldest = second - rules.window.as_secs() as i64;
        self.window.retain(|bucket| bucket.second > oldest);
        match self.window.back_mut() {
            Some(bucket) if bucket.second >= second => {
                bucket.calls = bucket.calls.saturating_add(calls);
                bucket.failures = bucket.failures.saturating_add(failures);
            }
            _ => self.window.push_back(Bucket { second, calls, failures }),
        }
    }

    /// Calls within the window, and those of them that failed.
    fn counted(&self) -> (u64, u64) {
        let sum = |of: fn(&Bucket) -> u32| self.window.iter().map(|bucket| u64::from(of(bucket))).sum();
        (sum(|bucket| bucket.calls), sum(|bucket| bucket.failures))
    }

    fn fails_too_often(&self, under_way: u32, rules: &BreakerRules) -> bool {
        let (calls, failures) = self.counted();
        calls >= u64::from(rules.min_calls)
            && failures * 100 >= (calls + u64::from(under_way)) * u64::from(rules.failure_percent)
    }

    fn open(&mut self, code: Code, message: &str, asked: Duration, jitter: f64, now: Timestamp, rules: &BreakerRules) {
        if self.state == State::Closed {
            let (calls, failures) = self.counted();
            if now.since(self.closed_at) > rules.window || calls - failures >= u64::from(rules.min_calls) {
                self.streak = 0;
            }
        }
        let doubled = rules.pause.saturating_mul(1_u32.checked_shl(self.streak).unwrap_or(u32::MAX));
        let pause = doubled.min(rules.longest_pause).mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0));
        self.streak = (self.streak + 1).min(31);
        let since = self.cause.as_ref().map_or(now, |cause| cause.since);
        self.cause = Some(Cause { code, message: message.to_owned(), since });
        self.generation += 1;
        self.window.clear();
        self.state = State::Open { until: now.plus(pause.max(asked)) };
    }

    /// Closes it. The generation stays: the probe is the first call of what begins now.
    fn close(&mut self, now: Timestamp) {
        self.state = State::Closed;
        self.consecutive = 0;
        self.window.clear();
        self.closed_at = now;
        self.cause = None;
    }
}

#[cfg(test)]
mod tests;
