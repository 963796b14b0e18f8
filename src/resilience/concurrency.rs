//! How many calls a process has under way to one provider: it grows while all goes well and is halved when not.
//!
//! Additive increase, multiplicative decrease, as in TCP (RFC 5681): one more after as many good calls as there may be,
//! and only while that many are really under way; half as many after a refusal for overload, a tenth fewer when first
//! tokens come far later than they once did. Calls that were under way before the last decrease say nothing more.
//!
//! A provider that was left alone and is called again gets a few calls first, and one more for every first token until
//! there are as many as before (slow start), so that all that waited do not fall upon it at once; what was under way
//! by then takes up no room. And the place of a call that failed stays empty until one goes well: while the breaker makes
//! up its mind, nobody adds to the failures.

use std::time::Duration;

/// First tokens this many times later than at best, and [`LATER`] more, mean that the provider is too busy.
const SLOWER: u32 = 4;
/// See [`SLOWER`].
const LATER: Duration = Duration::from_secs(1);
/// Calls with which slow start begins.
const FIRST_CALLS: f64 = 4.0;
/// The weight of a new latency in their running mean.
const WEIGHT: f64 = 0.1;

/// How a call went, as far as this is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well; its first token came after this time.
    Well(Duration),
    /// The provider has no capacity for it.
    Overloaded,
    /// In a way that may be the provider's fault.
    Failed,
    /// In none of these ways.
    Otherwise,
}

/// A job that was fetched to make calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Slow starts before it.
    restarts: u64,
}

/// The right to have one call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Slow starts before it began.
    restarts: u64,
    /// Decreases before it began.
    decreases: u64,
    /// Whether it was the last that fitted.
    was_full: bool,
}

/// How many there are at present.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    /// Those of them that were there when slow start began.
    older: u32,
}

impl Count {
    const fn one_less(&mut self, is_older: bool) {
        self.all = self.all.saturating_sub(1);
        if is_older {
            self.older = self.older.saturating_sub(1);
        }
    }

    const fn newer(self) -> u32 {
        self.all.saturating_sub(self.older)
    }
}

/// The limit of one process for one provider and operation.
#[derive(Clone, Debug)]
pub struct Concurrency {
    most: f64,
    limit: f64,
    /// Where slow start ends; at or below the limit when there is none.
    regained: f64,
    under_way: Count,
    /// Jobs fetched to make calls, and not settled.
    jobs: Count,
    /// Calls that failed since one went well.
    failed: u32,
    restarts: u64,
    decreases: u64,
    /// The best latency seen, and the mean of the recent ones.
    least: Option<Duration>,
    recent: Option<f64>,
}

impl Concurrency {
    /// At most `most` calls; it begins there.
    pub fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            most,
            limit: most,
            regained: most,
            under_way: Count::default(),
            jobs: Count::default(),
            failed: 0,
            restarts: 0,
            decreases: 0,
            least: None,
            recent: None,
        }
    }

    /// How many calls may be under way at present: one at least.
    pub fn limit(&self) -> u32 {
        (self.limit as u32).saturating_sub(self.failed).max(1)
    }

    /// How many are.
    pub const fn under_way(&self) -> u32 {
        self.under_way.all
    }

    /// How many more jobs may be fetched to make calls.
    pub fn room(&self) -> u32 {
        self.limit().saturating_sub(self.jobs.newer())
    }

    /// Counts a job that was fetched.
    pub const fn fetch(&mut self) -> Fetched {
        self.jobs.all += 1;
        Fetched { restarts: self.restarts }
    }

    /// A fetched job is settled.
    pub const fn settle(&mut self, fetched: Fetched) {
        self.jobs.one_less(fetched.restarts < self.restarts);
    }

    /// Begins a call, unless there are as many as may be.
    pub fn enter(&mut self) -> Option<Entered> {
        (self.under_way.newer() < self.limit()).then(|| self.push_in())
    }

    /// Begins a call, however many there are: for a probe, which goes alone.
    pub fn push_in(&mut self) -> Entered {
        self.under_way.all += 1;
        let was_full = self.under_way.newer() >= self.limit();
        Entered { restarts: self.restarts, decreases: self.decreases, was_full }
    }

    /// What failed so far has been judged.
    pub const fn forget_failures(&mut self) {
        self.failed = 0;
    }

    /// The provider was left alone, and is called again.
    pub fn restart(&mut self) {
        let regained = self.regained.max(self.limit);
        self.decrease(0.0);
        self.limit = FIRST_CALLS.min(regained);
        self.regained = regained;
        self.restarts += 1;
        self.under_way.older = self.under_way.all;
        self.jobs.older = self.jobs.all;
    }

    /// A call's first token came, or all of its answer.
    pub fn spoke(&mut self, entered: Entered) {
        if entered.decreases == self.decreases && self.limit < self.regained {
            self.limit = (self.limit + 1.0).min(self.regained);
        }
    }

    /// A call is over.
    pub fn leave(&mut self, entered: Entered, ended: Ended) {
        self.under_way.one_less(entered.restarts < self.restarts);
        if entered.decreases < self.decreases {
            return;
        }
        match ended {
            Ended::Otherwise => {}
            Ended::Failed => self.failed = self.failed.saturating_add(1),
            Ended::Overloaded => self.decrease(0.5),
            Ended::Well(latency) => {
                self.failed = 0;
                let least = self.least.map_or(latency, |least| least.min(latency));
                // After a decrease a single slow one must not be the mean of all.
                let recent = self.recent.unwrap_or(least.as_secs_f64());
                let recent = recent + (latency.as_secs_f64() - recent) * WEIGHT;
                // What was best long ago may never come back: it is forgotten slowly.
                self.least = Some(least.mul_f64(1.001));
                self.recent = Some(recent);
                if recent > (least * SLOWER + LATER).as_secs_f64() {
                    self.decrease(0.9);
                } else if entered.was_full && self.limit >= self.regained {
                    self.limit = (self.limit + 1.0 / self.limit).min(self.most);
                }
            }
        }
    }

    fn decrease(&mut self, factor: f64) {
        self.limit = (self.limit * factor).max(1.0);
        self.regained = self.limit;
        self.failed = 0;
        self.decreases += 1;
        self.recent = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Ended = Ended::Well(Duration::from_millis(200));

    /// Fills it up and lets all end alike.
    fn round(concurrency: &mut Concurrency, ended: Ended) {
        let all: Vec<_> = std::iter::from_fn(|| concurrency.enter()).collect();
        for entered in all {
            concurrency.leave(entered, ended);
        }
        assert_eq!(concurrency.under_way(), 0);
    }

    #[test]
    fn it_is_halved_once_for_all_that_were_refused_together_and_never_below_one() {
        let mut concurrency = Concurrency::new(64);
        for limit in [32, 16, 8, 4, 2, 1, 1] {
            round(&mut concurrency, Ended::Overloaded);
            assert_eq!(concurrency.limit(), limit);
        }
    }

    #[test]
    fn it_grows_back_by_about_one_a_round_while_it_is_full_and_not_beyond_the_most() {
        let mut concurrency = Concurrency::new(8);
        round(&mut concurrency, Ended::Overloaded);
        assert_eq!(concurrency.limit(), 4);
        let one = concurrency.enter().unwrap();
        concurrency.leave(one, QUICK);
        assert_eq!(concurrency.limit(), 4, "it was not full");
        let mut rounds = 0;
        while concurrency.limit() < 8 {
            round(&mut concurrency, QUICK);
            rounds += 1;
        }
        assert!((4..=60).contains(&rounds), "{rounds}");
        for _ in 0..100 {
            round(&mut concurrency, QUICK);
        }
        assert_eq!(concurrency.limit(), 8);
    }

    #[test]
    fn it_shrinks_while_first_tokens_come_far_too_late_and_not_for_a_single_slow_one() {
        let mut concurrency = Concurrency::new(64);
        round(&mut concurrency, QUICK);
        let one = concurrency.enter().unwrap();
        concurrency.leave(one, Ended::Well(Duration::from_secs(10)));
        assert_eq!(concurrency.limit(), 64);
        for _ in 0..20 {
            round(&mut concurrency, Ended::Well(Duration::from_secs(10)));
        }
        assert!(concurrency.limit() < 20, "{}", concurrency.limit());
        assert!(concurrency.limit() >= 1);
    }
    #[test]
    fn the_place_of_a_call_that_failed_stays_empty_until_one_goes_well() {
        let mut concurrency = Concurrency::new(8);
        let all: Vec<_> = std::iter::from_fn(|| concurrency.enter()).collect();
        for entered in &all[..7] {
            concurrency.leave(*entered, Ended::Failed);
            assert_eq!(concurrency.enter(), None);
        }
        concurrency.leave(all[7], QUICK);
        assert_eq!(concurrency.limit(), 8);
        for _ in 0..20 {
            let one = concurrency.enter().expect("one at least");
            concurrency.leave(one, Ended::Failed);
        }
        assert_eq!(concurrency.limit(), 1);
        concurrency.forget_failures();
        assert_eq!(concurrency.limit(), 8);
    }

    #[test]
    fn after_it_was_left_alone_a_few_calls_go_first_and_each_first_token_admits_one_more() {
        let mut concurrency = Concurrency::new(64);
        let before = concurrency.enter().unwrap();
        concurrency.restart();
        assert_eq!(concurrency.limit(), 4);
        concurrency.spoke(before);
        concurrency.leave(before, QUICK);
        assert_eq!(concurrency.limit(), 4, "it was called before");
        for limit in [8, 16, 32, 64, 64] {
            let all: Vec<_> = std::iter::from_fn(|| concurrency.enter()).collect();
            for entered in &all {
                concurrency.spoke(*entered);
            }
            assert_eq!(concurrency.limit(), limit);
            for entered in all {
                concurrency.leave(entered, QUICK);
            }
        }
    }

    #[test]
    fn slow_start_regains_what_there_was_and_ends_with_a_refusal_for_overload() {
        let mut concurrency = Concurrency::new(64);
        round(&mut concurrency, Ended::Overloaded);
        concurrency.restart();
        concurrency.restart();
        for _ in 0..40 {
            let one = concurrency.enter().unwrap();
            concurrency.spoke(one);
            concurrency.leave(one, Ended::Otherwise);
        }
        assert_eq!(concurrency.limit(), 32);
        concurrency.restart();
        let one = concurrency.enter().unwrap();
        concurrency.spoke(one);
        concurrency.leave(one, Ended::Overloaded);
        let one = concurrency.enter().unwrap();
        concurrency.spoke(one);
        assert_eq!(concurrency.limit(), 2, "half of five, and no more for a first token");
        let mut concurrency = Concurrency::new(1);
        concurrency.restart();
        assert_eq!(concurrency.limit(), 1);
    }
    #[test]
    fn what_was_under_way_before_slow_start_takes_up_no_room() {
        let mut concurrency = Concurrency::new(64);
        let jobs: Vec<_> = (0..60).map(|_| concurrency.fetch()).collect();
        let long: Vec<_> = (0..60).map(|_| concurrency.enter().unwrap()).collect();
        concurrency.restart();
        assert_eq!((concurrency.room(), concurrency.under_way()), (4, 60));
        let new: Vec<_> = std::iter::from_fn(|| concurrency.enter()).collect();
        assert_eq!(new.len(), 4);
        let fetched = concurrency.fetch();
        assert_eq!(concurrency.room(), 3);
        for (entered, job) in long.into_iter().zip(jobs) {
            concurrency.leave(entered, QUICK);
            concurrency.settle(job);
        }
        assert_eq!((concurrency.room(), concurrency.under_way()), (3, 4), "nor give any when they end");
        concurrency.settle(fetched);
        assert_eq!(concurrency.enter(), None);
        let probe = concurrency.push_in();
        concurrency.leave(probe, Ended::Otherwise);
        assert_eq!(concurrency.enter(), None);
    }

    #[test]
    fn one_slow_answer_does_not_end_slow_start() {
        let mut concurrency = Concurrency::new(64);
        round(&mut concurrency, QUICK);
        concurrency.restart();
        let one = concurrency.enter().unwrap();
        concurrency.spoke(one);
        concurrency.leave(one, Ended::Well(Duration::from_secs(2)));
        let one = concurrency.enter().unwrap();
        concurrency.spoke(one);
        assert_eq!(concurrency.limit(), 6);
    }
}
