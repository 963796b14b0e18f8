//! What a provider lets through in a minute: requests and tokens, as budgets of the whole deployment.
//!
//! A pure machine like the breaker, shared in the same way. Two buckets hold what may still be spent; they refill
//! continuously and hold one minute's worth at most, which is how providers keep their own. A call reserves what it
//! may cost before it is made, as the provider does: its prompt and the longest answer it allows. When it is over, what
//! it did not use comes back, and what it used beyond that is taken too, if need be below nothing.
//!
//! A prompt's tokens are only estimated; how far the estimates are off is learned from the usage that the provider
//! reports. A small part of each limit is left unused, for what is counted differently on the two sides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;

/// So much of a limit is used.
const SHARE: f64 = 0.97;
/// The weight of a new observation in a running mean.
const WEIGHT: f64 = 1.0 / 16.0;
const MINUTE_MS: f64 = 60_000.0;

/// Most requests and tokens a minute; none: no limit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Requests.
    pub requests: Option<u64>,
    /// Tokens, of prompts and answers together.
    pub tokens: Option<u64>,
}

/// The numbers a budget goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetRules {
    /// The limits as configured. What is not is learned from the provider's own words.
    pub limits: RateLimits,
    /// What a call is taken to cost before there was any.
    pub first_estimate: u64,
}

/// What a reply says of the provider's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// The limits.
    pub limits: RateLimits,
    /// What is left of them.
    pub remaining: RateLimits,
}

/// What is asked of a budget or told to it.
#[derive(Clone, Debug, PartialEq)]
pub enum BudgetEvent {
    /// Up to so many jobs are to be fetched, each to cost what calls cost on average.
    Foreseen {
        /// How many at most.
        calls: u32,
    },
    /// A call is to be made.
    Reserved {
        /// What it may cost.
        tokens: u64,
        /// What was put aside for it when its job was fetched; none, not even its request.
        foreseen: Option<u64>,
        /// How long it would rather wait than be put off.
        patience: Duration,
    },
    /// Something put aside was not used: a job that made no call, or a call that was not made.
    Returned {
        /// The requests.
        calls: u32,
        /// The tokens.
        tokens: u64,
    },
    /// A call is over.
    Settled {
        /// What was reserved for it.
        reserved: u64,
        /// What it cost.
        used: u64,
        /// Its prompt's tokens, as estimated without correction and as counted by the provider.
        prompt: Option<(u64, u64)>,
    },
    /// A reply said how the provider counts.
    Learned(RateHeaders),
    /// The provider refused a call for its rate: by its own count nothing is left.
    Drained,
}

/// What becomes of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetAnswer {
    /// So many calls may be made, with so many tokens put aside for each.
    Granted {
        /// How many.
        calls: u32,
        /// The tokens of each.
        tokens: u64,
        /// How long to wait first: others are before it.
        after: Duration,
    },
    /// Not now.
    Refused {
        /// When there will be enough.
        after: Duration,
    },
    /// Never: it is more than the whole bucket holds.
    TooLarge {
        /// What it holds.
        limit: u64,
    },
    /// It was told.
    Noted,
}

/// The budget of one provider and operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    requests: Option<f64>,
    tokens: Option<f64>,
    /// When the buckets were last filled up.
    filled: Timestamp,
    learned: RateLimits,
    /// What calls reserve on average.
    mean: Option<f64>,
    /// The tokens of prompts by the provider's count over those of our estimate.
    correction: Option<f64>,
}

impl Budget {
    fn limits(&self, rules: &BudgetRules) -> RateLimits {
        RateLimits {
            requests: rules.limits.requests.or(self.learned.requests),
            tokens: rules.limits.tokens.or(self.learned.tokens),
        }
    }

    /// The limits that the provider named.
    pub const fn learned(&self) -> RateLimits {
        self.learned
    }

    /// Whether there is any limit to keep.
    pub fn is_limited(&self, rules: &BudgetRules) -> bool {
        self.limits(rules) != RateLimits::default()
    }

    /// Whether the provider's words would tell anything new: limits that are not configured, and not known by now.
    pub fn would_learn(&self, headers: &RateHeaders, rules: &BudgetRules) -> bool {
        let new = |configured: Option<u64>, known: Option<u64>, said: Option<u64>| {
            configured.is_none() && said.is_some_and(|said| known != Some(said))
        };
        new(rules.limits.requests, self.learned.requests, headers.limits.requests)
            || new(rules.limits.tokens, self.learned.tokens, headers.limits.tokens)
            || self.is_behind(headers)
    }

    /// Whether the provider has less left than we think: somebody else spends of the same limit.
    fn is_behind(&self, headers: &RateHeaders) -> bool {
        let behind = |level: Option<f64>, limit: Option<u64>, left: Option<u64>| match (level, limit, left) {
            (Some(level), Some(limit), Some(left)) => level - left as f64 > limit as f64 * 0.05,
            _ => false,
        };
        behind(self.requests, self.learned.requests, headers.remaining.requests)
            || behind(self.tokens, self.learned.tokens, headers.remaining.tokens)
    }

    /// What is reserved for a prompt of so many estimated tokens and an answer of so many at most.
    pub fn cost(&self, prompt: u64, longest_answer: u64) -> u64 {
        (prompt as f64 * self.correction.unwrap_or(1.0)).ceil() as u64 + longest_answer
    }

    /// How long until a call of average cost could be made; nothing if one can.
    pub fn wait(&self, now: Timestamp, rules: &BudgetRules) -> Duration {
        let mut filled = self.clone();
        filled.fill(now, rules);
        filled.lacking(1.0, filled.expected(rules), rules)
    }

    fn expected(&self, rules: &BudgetRules) -> f64 {
        let expected = self.mean.unwrap_or(rules.first_estimate as f64);
        self.limits(rules).tokens.map_or(expected, |limit| expected.min(limit as f64 * SHARE))
    }

    fn fill(&mut self, now: Timestamp, rules: &BudgetRules) {
        let minutes = now.since(self.filled).as_millis() as f64 / MINUTE_MS;
        let limits = self.limits(rules);
        let fill = |level: &mut Option<f64>, limit: Option<u64>| {
            *level = limit.map(|limit| {
                let whole = (limit as f64 * SHARE).max(1.0);
                level.map_or(whole, |level| (level + whole * minutes).min(whole))
            });
        };
        fill(&mut self.requests, limits.requests);
        fill(&mut self.tokens, limits.tokens);
        self.filled = self.filled.max(now);
    }

    /// How long until the buckets hold this.
    fn lacking(&self, requests: f64, tokens: f64, rules: &BudgetRules) -> Duration {
        let limits = self.limits(rules);
        let wait = |level: Option<f64>, limit: Option<u64>, wanted: f64| match (level, limit) {
            (Some(level), Some(limit)) if level < wanted => {
                (wanted - level) / (limit as f64 * SHARE).max(1.0) * MINUTE_MS
            }
            _ => 0.0,
        };
        let millis = wait(self.requests, limits.requests, requests).max(wait(self.tokens, limits.tokens, tokens));
        Duration::from_millis(millis.ceil() as u64)
    }

    fn take(&mut self, requests: f64, tokens: f64) {
        if let Some(level) = &mut self.requests {
            *level -= requests;
        }
        if let Some(level) = &mut self.tokens {
            *level -= tokens;
        }
    }

    /// Takes note of what happened at `now`.
    pub fn apply(&mut self, event: &BudgetEvent, now: Timestamp, rules: &BudgetRules) -> BudgetAnswer {
        self.fill(now, rules);
        match event {
            BudgetEvent::Foreseen { calls } => self.foresee(*calls, rules),
            BudgetEvent::Reserved { tokens, foreseen, patience } => self.reserve(*tokens, *foreseen, *patience, rules),
            BudgetEvent::Returned { calls, tokens } => self.give_back(f64::from(*calls), *tokens as f64, now, rules),
            BudgetEvent::Settled { reserved, used, prompt } => {
                if let Some((estimated, counted)) = prompt.filter(|(estimated, counted)| *estimated > 0 && *counted > 0)
                {
                    let seen = (counted as f64 / estimated as f64).clamp(0.25, 4.0);
                    let known = self.correction.unwrap_or(seen);
                    self.correction = Some(known + (seen - known) * WEIGHT);
                }
                self.give_back(0.0, *reserved as f64 - *used as f64, now, rules)
            }
            BudgetEvent::Learned(headers) => {
                self.learned = RateLimits {
                    requests: headers.limits.requests.or(self.learned.requests),
                    tokens: headers.limits.tokens.or(self.learned.tokens),
                };
                self.fill(now, rules);
                let lower = |level: &mut Option<f64>, left: Option<u64>| {
                    if let (Some(level), Some(left)) = (level, left) {
                        *level = level.min(left as f64);
                    }
                };
                if rules.limits.requests.is_none() {
                    lower(&mut self.requests, headers.remaining.requests);
                }
                if rules.limits.tokens.is_none() {
                    lower(&mut self.tokens, headers.remaining.tokens);
                }
                BudgetAnswer::Noted
            }
            BudgetEvent::Drained => {
                for level in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
                    *level = level.min(0.0);
                }
                BudgetAnswer::Noted
            }
        }
    }

    fn foresee(&mut self, calls: u32, rules: &BudgetRules) -> BudgetAnswer {
        let expected = self.expected(rules);
        let fits =
            |level: Option<f64>, each: f64| level.map_or(f64::from(calls), |level| (level / each.max(1.0)).floor());
        let fitting = fits(self.requests, 1.0).min(fits(self.tokens, expected)).min(f64::from(calls));
        if fitting < 1.0 {
            return BudgetAnswer::Refused { after: self.lacking(1.0, expected, rules) };
        }
        let tokens = expected.ceil();
        self.take(fitting, fitting * tokens);
        BudgetAnswer::Granted { calls: fitting as u32, tokens: tokens as u64, after: Duration::ZERO }
    }

    fn reserve(&mut self, tokens: u64, foreseen: Option<u64>, patience: Duration, rules: &BudgetRules) -> BudgetAnswer {
        if let Some(limit) = self.limits(rules).tokens.filter(|limit| tokens as f64 > *limit as f64 * SHARE) {
            return BudgetAnswer::TooLarge { limit };
        }
        let mean = self.mean.unwrap_or(tokens as f64);
        let more = tokens as f64 - foreseen.unwrap_or(0) as f64;
        let requests = if foreseen.is_some() { 0.0 } else { 1.0 };
        let after = if more > 0.0 || requests > 0.0 { self.lacking(requests, more, rules) } else { Duration::ZERO };
        if after > patience {
            return BudgetAnswer::Refused { after };
        }
        self.mean = Some(mean + (tokens as f64 - mean) * WEIGHT);
        self.take(requests, more);
        BudgetAnswer::Granted { calls: 1, tokens, after }
    }

    fn give_back(&mut self, requests: f64, tokens: f64, now: Timestamp, rules: &BudgetRules) -> BudgetAnswer {
        self.take(-requests, -tokens);
        // Never more than a minute's worth.
        self.fill(now, rules);
        BudgetAnswer::Noted
    }
}

#[cfg(test)]
mod tests;
