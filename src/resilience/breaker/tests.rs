use proptest::prelude::*;

use super::*;

const RULES: BreakerRules = BreakerRules {
    failures: 5,
    failure_percent: 50,
    min_calls: 20,
    window: Duration::from_secs(30),
    pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
    longest_retry_after: Duration::from_hours(1),
    probe_lease: Duration::from_secs(15),
};
const START: Timestamp = Timestamp(1_700_000_000_000);

/// A breaker with its time.
struct Bench {
    breaker: Breaker,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { breaker: Breaker::default(), now: START }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    fn tell(&mut self, event: &BreakerEvent) -> bool {
        self.breaker.apply(event, self.now, &RULES)
    }

    fn succeed(&mut self, calls: u32) {
        let generation = self.breaker.generation();
        self.tell(&BreakerEvent::Succeeded { generation, calls });
    }

    fn fail(&mut self, code: Code) {
        self.fail_in(self.breaker.generation(), code, None);
    }

    fn fail_in(&mut self, generation: u64, code: Code, retry_after: Option<u64>) {
        let retry_after = retry_after.map(Duration::from_secs);
        let message = "it said".into();
        self.tell(&BreakerEvent::Failed { generation, code, message, retry_after, under_way: 0, jitter: 0.0 });
    }

    /// Fails while so many others are under way.
    fn fail_beside(&mut self, under_way: u32) {
        let (generation, code) = (self.breaker.generation(), Code::ProviderError);
        let message = "it said".into();
        self.tell(&BreakerEvent::Failed { generation, code, message, retry_after: None, under_way, jitter: 0.0 });
    }

    fn claim(&mut self, holder: &str) -> bool {
        self.tell(&BreakerEvent::Claimed { holder: holder.into() })
    }

    fn wait(&self) -> Option<u64> {
        match self.breaker.admission(self.now) {
            Admission::Wait(wait) => Some(wait.as_secs()),
            Admission::Closed | Admission::ProbeDue => None,
        }
    }

    fn state(&self) -> BreakerState {
        self.breaker.state(self.now)
    }
}

#[test]
fn one_that_a_newer_version_opened_for_a_cause_of_its_own_is_open() {
    let mut bench = Bench::new();
    bench.fail(Code::QuotaExhausted);
    let newer = serde_json::to_string(&bench.breaker).unwrap().replace("quota_exhausted", "moon_in_the_way");
    let read: Breaker = serde_json::from_str(&newer).unwrap();
    assert_eq!(read.cause().map(|cause| cause.code), Some(Code::Unknown));
    assert_eq!(read.admission(bench.now), bench.breaker.admission(bench.now));
}

#[test]
fn five_failures_in_a_row_trip_it_and_four_with_a_success_between_do_not() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.fail(Code::ProviderError);
    }
    bench.succeed(1);
    for _ in 0..4 {
        bench.fail(Code::ProviderTimeout);
    }
    assert_eq!((bench.state(), bench.breaker.consecutive_failures()), (BreakerState::Closed, 4));
    bench.fail(Code::ProviderTimeout);
    assert_eq!((bench.state(), bench.wait()), (BreakerState::Open, Some(1)));
    assert_eq!(bench.breaker.cause().unwrap().code, Code::ProviderTimeout);
}

#[test]
fn half_of_twenty_calls_within_the_window_trip_it_and_older_ones_do_not_count() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.succeed(1);
        bench.fail(Code::ProviderError);
    }
    bench.pass(Duration::from_secs(31));
    bench.succeed(10);
    for _ in 0..4 {
        bench.succeed(1);
        bench.fail(Code::ProviderError);
    }
    assert_eq!(bench.state(), BreakerState::Closed, "4 of 18");
    for _ in 0..11 {
        bench.fail(Code::ProviderError);
        if bench.state() == BreakerState::Closed {
            bench.succeed(1);
        }
    }
    assert_eq!(bench.state(), BreakerState::Closed, "15 of 40 and never two in a row");
    let mut bench = Bench::new();
    bench.succeed(10);
    for _ in 0..2 {
        for _ in 0..4 {
            bench.fail(Code::ProviderError);
        }
        bench.succeed(1);
    }
    assert_eq!(bench.state(), BreakerState::Closed, "8 of 20");
    for _ in 0..3 {
        bench.fail(Code::ProviderError);
    }
    bench.succeed(1);
    bench.fail(Code::ProviderError);
    assert_eq!(bench.state(), BreakerState::Closed, "12 of 25");
    bench.fail(Code::ProviderError);
    assert_eq!(bench.state(), BreakerState::Open, "13 of 26");
}

#[test]
fn the_first_failures_of_many_calls_begun_together_do_not_trip_it_and_the_failure_of_all_does() {
    let mut bench = Bench::new();
    for others in (50..64).rev() {
        bench.fail_beside(others);
    }
    assert_eq!(bench.state(), BreakerState::Closed, "14 in a row, while 50 may go well");
    bench.succeed(50);
    for others in (32..64).rev() {
        assert_eq!(bench.state(), BreakerState::Closed, "{others} under way");
        bench.fail_beside(others);
    }
    assert_eq!(bench.state(), BreakerState::Open, "32 in a row, and 32 under way");
    let mut bench = Bench::new();
    for _ in 0..10 {
        for others in (96..100).rev() {
            bench.fail_beside(others);
        }
        bench.succeed(3);
    }
    assert_eq!(bench.state(), BreakerState::Closed, "40 of 70, while 96 are under way");
}

#[test]
fn a_refusal_for_overload_or_of_the_key_closes_the_provider_at_once_and_retry_after_counts() {
    for (code, asked, wait) in [
        (Code::RateLimited, None, 1),
        (Code::RateLimited, Some(40), 40),
        (Code::ProviderOverloaded, Some(0), 1),
        (Code::RateLimited, Some(90_000), 3_600),
        (Code::QuotaExhausted, None, 1),
        (Code::ProviderUnauthorized, None, 1),
        (Code::ModelNotFound, None, 1),
    ] {
        let mut bench = Bench::new();
        bench.fail_in(0, code, asked);
        assert_eq!(bench.wait(), Some(wait), "{code}");
    }
    let mut bench = Bench::new();
    for code in [Code::ContextTooLong, Code::ProviderRejected, Code::ContentRefused, Code::Unknown] {
        for _ in 0..40 {
            bench.fail(code);
        }
        assert_eq!(bench.state(), BreakerState::Closed, "{code} says nothing about the provider");
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_start_again_after_a_whole_window_of_peace_or_many_answers() {
    let mut bench = Bench::new();
    bench.fail(Code::ProviderOverloaded);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(bench.wait(), Some(pause));
        bench.pass(Duration::from_secs(pause));
        assert_eq!(bench.state(), BreakerState::HalfOpen);
        assert!(bench.claim("a"));
        bench.fail(Code::ProviderTimeout);
    }
    bench.pass(Duration::from_secs(30));
    assert!(bench.claim("a"));
    bench.succeed(1);
    assert_eq!((bench.state(), bench.breaker.cause()), (BreakerState::Closed, None));
    bench.pass(Duration::from_secs(5));
    bench.fail(Code::RateLimited);
    assert_eq!(bench.wait(), Some(30), "it never had its peace");
    bench.pass(Duration::from_secs(30));
    assert!(bench.claim("a"));
    bench.succeed(1);
    bench.succeed(19);
    bench.fail(Code::RateLimited);
    assert_eq!(bench.wait(), Some(30), "nor answered enough");
    bench.pass(Duration::from_secs(30));
    assert!(bench.claim("a"));
    bench.succeed(1);
    bench.succeed(20);
    bench.fail(Code::RateLimited);
    assert_eq!(bench.wait(), Some(1));
    for _ in 0..5 {
        bench.pass(Duration::from_secs(30));
        assert!(bench.claim("a"));
        bench.fail(Code::ProviderTimeout);
    }
    bench.pass(Duration::from_secs(30));
    assert!(bench.claim("a"));
    bench.succeed(1);
    bench.pass(Duration::from_secs(31));
    bench.fail(Code::RateLimited);
    assert_eq!(bench.wait(), Some(1));
}

#[test]
fn one_probe_at_a_time_and_its_lease_ends_with_its_holder() {
    let mut bench = Bench::new();
    bench.fail(Code::QuotaExhausted);
    assert!(!bench.claim("a"), "not during the pause");
    bench.pass(Duration::from_secs(1));
    assert!(bench.claim("a"));
    assert!(!bench.claim("b") && !bench.claim("a"));
    let first = bench.breaker.generation();
    bench.pass(Duration::from_secs(14));
    bench.tell(&BreakerEvent::Renewed { generation: first });
    bench.pass(Duration::from_secs(14));
    assert!(!bench.claim("b"), "the holder lives");
    bench.pass(Duration::from_secs(1));
    assert!(bench.claim("b"));
    bench.tell(&BreakerEvent::Succeeded { generation: first, calls: 1 });
    assert_eq!(bench.state(), BreakerState::HalfOpen, "a probe that was given up tells nothing");
    bench.tell(&BreakerEvent::Abandoned { generation: first });
    assert!(bench.breaker.is_held_by("b"));
    bench.tell(&BreakerEvent::Abandoned { generation: bench.breaker.generation() });
    assert!(bench.claim("c"), "at once");
}

#[test]
fn what_an_old_call_reports_neither_closes_nor_trips_but_its_retry_after_is_believed() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.fail(Code::ProviderError);
    }
    bench.tell(&BreakerEvent::Succeeded { generation: 0, calls: 1 });
    assert_eq!(bench.state(), BreakerState::Open);
    bench.fail_in(0, Code::ProviderError, None);
    assert_eq!(bench.wait(), Some(1));
    bench.fail_in(0, Code::RateLimited, Some(20));
    assert_eq!(bench.wait(), Some(20));
    bench.fail_in(0, Code::RateLimited, Some(3));
    assert_eq!(bench.wait(), Some(20), "never sooner");
    bench.pass(Duration::from_secs(20));
    assert!(bench.claim("a"));
    bench.succeed(1);
    for _ in 0..9 {
        bench.fail_in(0, Code::RateLimited, Some(20));
    }
    assert_eq!(bench.state(), BreakerState::Closed, "they were sent before it closed");
}

#[test]
fn a_probe_that_is_refused_for_what_it_asked_shows_that_the_provider_answers() {
    let mut bench = Bench::new();
    bench.fail(Code::ProviderOverloaded);
    bench.pass(Duration::from_secs(1));
    assert!(bench.claim("a"));
    bench.fail(Code::ContextTooLong);
    assert_eq!(bench.state(), BreakerState::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Succeed { age: u64 },
    Fail { age: u64, code: Code, asked: Option<u64>, under_way: u32, jitter: f64 },
    Claim(u8),
    Renew { age: u64 },
    Abandon { age: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let code = proptest::sample::select(Code::ALL.to_vec());
    prop_oneof![
        (0_u64..40_000).prop_map(Step::Pass),
        (0_u64..3).prop_map(|age| Step::Succeed { age }),
        (0_u64..3, code, proptest::option::of(0_u64..8_000), 0_u32..20, 0.0..=1.0)
            .prop_map(|(age, code, asked, under_way, jitter)| Step::Fail { age, code, asked, under_way, jitter }),
        (0_u8..3).prop_map(Step::Claim),
        (0_u64..2).prop_map(|age| Step::Renew { age }),
        (0_u64..2).prop_map(|age| Step::Abandon { age }),
    ]
}

impl Bench {
    fn take(&mut self, step: &Step) {
        let of = |age: u64| self.breaker.generation().saturating_sub(age);
        let event = match step.clone() {
            Step::Pass(millis) => return self.pass(Duration::from_millis(millis)),
            Step::Succeed { age } => BreakerEvent::Succeeded { generation: of(age), calls: 1 },
            Step::Fail { age, code, asked, under_way, jitter } => BreakerEvent::Failed {
                generation: of(age),
                code,
                message: String::new(),
                retry_after: asked.map(Duration::from_secs),
                under_way,
                jitter,
            },
            Step::Claim(who) => BreakerEvent::Claimed { holder: who.to_string() },
            Step::Renew { age } => BreakerEvent::Renewed { generation: of(age) },
            Step::Abandon { age } => BreakerEvent::Abandoned { generation: of(age) },
        };
        self.tell(&event);
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_keeps_its_promises(steps in proptest::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        for step in &steps {
            let before = bench.breaker.clone();
            let generation = before.generation();
            bench.take(step);
            let after = &bench.breaker;
            prop_assert!(after.generation() >= generation, "generations never fall");
            prop_assert_eq!(after.cause().is_none(), after.state(bench.now) == BreakerState::Closed);
            let wait = bench.wait().unwrap_or_default();
            prop_assert!(wait <= RULES.longest_retry_after.as_secs());
            let closed_now = after.state(bench.now) == BreakerState::Closed;
            let old = match step {
                Step::Succeed { age } | Step::Fail { age, .. } => generation.saturating_sub(*age) != generation,
                Step::Pass(_) | Step::Claim(_) | Step::Renew { .. } | Step::Abandon { .. } => false,
            };
            if old {
                let was_closed = before.state(bench.now) == BreakerState::Closed;
                prop_assert_eq!(was_closed, closed_now, "an old call changes no state");
            }
            if let Step::Claim(_) = step
                && before.admission(bench.now) != Admission::ProbeDue
            {
                prop_assert_eq!(&before, after, "a claim out of turn changes nothing");
            }
            let text = serde_json::to_string(after).unwrap();
            prop_assert!(text.len() < 4_000, "it stays small: {}", text.len());
            prop_assert_eq!(&serde_json::from_str::<Breaker>(&text).unwrap(), after);
        }
        // Whatever it has come to, it is closed again by one good probe.
        bench.pass(RULES.longest_retry_after);
        if bench.state() != BreakerState::Closed {
            prop_assert!(bench.claim("the last"));
            bench.succeed(1);
        }
        prop_assert_eq!(bench.state(), BreakerState::Closed);
    }
}
