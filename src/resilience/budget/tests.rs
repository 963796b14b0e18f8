use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp(1_700_000_000_000);

fn rules(requests: Option<u64>, tokens: Option<u64>) -> BudgetRules {
    BudgetRules { limits: RateLimits { requests, tokens }, first_estimate: 1_000 }
}

fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn reserved(tokens: u64) -> BudgetEvent {
    BudgetEvent::Reserved { tokens, foreseen: None, patience: Duration::ZERO }
}

fn granted(tokens: u64) -> BudgetAnswer {
    BudgetAnswer::Granted { calls: 1, tokens, after: Duration::ZERO }
}

#[test]
fn a_bucket_holds_a_minute_and_fills_continuously() {
    let rules = rules(None, Some(10_000));
    let mut budget = Budget::default();
    assert_eq!(budget.apply(&reserved(9_700), START, &rules), granted(9_700));
    let refused = budget.apply(&reserved(970), START, &rules);
    assert_eq!(refused, BudgetAnswer::Refused { after: Duration::from_secs(6) });
    assert_eq!(budget.apply(&reserved(970), after(6), &rules), granted(970));
    assert_eq!(
        budget.apply(&reserved(9_700), after(7), &rules),
        BudgetAnswer::Refused { after: Duration::from_secs(59) }
    );
    assert_eq!(budget.apply(&reserved(9_701), after(7), &rules), BudgetAnswer::TooLarge { limit: 10_000 });
    assert_eq!(budget.apply(&reserved(9_700), after(600), &rules), granted(9_700), "a minute's worth, not ten");
    assert!(matches!(budget.apply(&reserved(500), after(600), &rules), BudgetAnswer::Refused { .. }));
}

#[test]
fn what_was_not_used_comes_back_and_what_was_used_beyond_is_owed() {
    let rules = rules(None, Some(10_000));
    let mut budget = Budget::default();
    budget.apply(&reserved(9_000), START, &rules);
    budget.apply(&BudgetEvent::Settled { reserved: 9_000, used: 1_000, prompt: None }, START, &rules);
    assert_eq!(budget.apply(&reserved(8_700), START, &rules), granted(8_700));
    budget.apply(&BudgetEvent::Settled { reserved: 8_700, used: 9_670, prompt: None }, START, &rules);
    let refused = budget.apply(&reserved(970), START, &rules);
    assert_eq!(refused, BudgetAnswer::Refused { after: Duration::from_secs(12) });
}

#[test]
fn requests_are_counted_too_and_come_back_if_none_was_made() {
    let rules = rules(Some(10), None);
    let mut budget = Budget::default();
    let foreseen = budget.apply(&BudgetEvent::Foreseen { calls: 64 }, START, &rules);
    assert_eq!(foreseen, BudgetAnswer::Granted { calls: 9, tokens: 1_000, after: Duration::ZERO });
    assert!(matches!(budget.apply(&BudgetEvent::Foreseen { calls: 1 }, START, &rules), BudgetAnswer::Refused { .. }));
    assert!(budget.wait(START, &rules) > Duration::ZERO);
    budget.apply(&BudgetEvent::Returned { calls: 1, tokens: 1_000 }, START, &rules);
    assert_eq!(budget.wait(START, &rules), Duration::ZERO);
    assert_eq!(budget.apply(&reserved(5), START, &rules), granted(5));
}

#[test]
fn what_was_foreseen_for_a_job_is_part_of_what_its_call_reserves() {
    let rules = rules(Some(100), Some(10_000));
    let mut budget = Budget::default();
    let foreseen = budget.apply(&BudgetEvent::Foreseen { calls: 64 }, START, &rules);
    assert_eq!(foreseen, BudgetAnswer::Granted { calls: 9, tokens: 1_000, after: Duration::ZERO });
    for _ in 0..9 {
        let event = BudgetEvent::Reserved { tokens: 1_000, foreseen: Some(1_000), patience: Duration::ZERO };
        assert_eq!(budget.apply(&event, START, &rules), granted(1_000));
    }
    let more = BudgetEvent::Reserved { tokens: 1_500, foreseen: Some(1_000), patience: Duration::ZERO };
    assert_eq!(budget.apply(&more, START, &rules), granted(1_500), "700 were left");
    let patient = BudgetEvent::Reserved { tokens: 297, foreseen: None, patience: Duration::from_secs(1) };
    let answer = budget.apply(&patient, START, &rules);
    assert!(matches!(answer, BudgetAnswer::Granted { after, .. } if after > Duration::ZERO), "{answer:?}");
    assert!(matches!(budget.apply(&patient, START, &rules), BudgetAnswer::Refused { .. }), "others wait already");
}

#[test]
fn estimates_are_corrected_by_what_the_provider_counts() {
    let rules = rules(None, Some(1_000_000));
    let mut budget = Budget::default();
    assert_eq!(budget.cost(1_000, 100), 1_100);
    for _ in 0..50 {
        budget.apply(&BudgetEvent::Settled { reserved: 0, used: 0, prompt: Some((1_000, 1_500)) }, START, &rules);
    }
    assert_eq!(budget.cost(1_000, 100), 1_600);
}

#[test]
fn limits_are_learned_unless_they_are_configured_and_a_lower_count_is_believed() {
    let headers = RateHeaders {
        limits: RateLimits { requests: Some(60), tokens: Some(10_000) },
        remaining: RateLimits { requests: Some(59), tokens: Some(970) },
    };
    let open = rules(None, None);
    let mut budget = Budget::default();
    assert!(!budget.is_limited(&open));
    assert_eq!(budget.apply(&reserved(1 << 40), START, &open), granted(1 << 40));
    assert!(budget.would_learn(&headers, &open));
    budget.apply(&BudgetEvent::Learned(headers), START, &open);
    assert!(budget.is_limited(&open) && !budget.would_learn(&headers, &open));
    assert!(matches!(budget.apply(&reserved(971), START, &open), BudgetAnswer::Refused { .. }));
    assert_eq!(budget.apply(&reserved(970), START, &open), granted(970));
    let configured = rules(None, Some(5_000));
    let mut budget = Budget::default();
    budget.apply(&BudgetEvent::Learned(headers), START, &configured);
    assert_eq!(budget.apply(&reserved(4_850), START, &configured), granted(4_850));
    budget.apply(&BudgetEvent::Drained, after(30), &configured);
    assert!(budget.wait(after(30), &configured) > Duration::ZERO, "the provider's refusal counts more than our sums");
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Foresee(u32),
    Reserve(u64),
    Settle(f64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..20_000).prop_map(Step::Pass),
        (1_u32..20).prop_map(Step::Foresee),
        (1_u64..3_000).prop_map(Step::Reserve),
        (0.0..=1.0).prop_map(Step::Settle),
    ]
}

proptest! {
    /// Whoever keeps to the budget never spends more than a provider's own bucket of the same size would allow.
    #[test]
    fn what_is_granted_fits_the_providers_own_bucket(steps in proptest::collection::vec(step(), 1..200)) {
        let rules = rules(None, Some(10_000));
        let (mut budget, mut now, mut running) = (Budget::default(), START, Vec::new());
        let (mut theirs, mut filled) = (10_000.0_f64, START);
        for step in steps {
            let refill = now.since(filled).as_millis() as f64 / MINUTE_MS * 10_000.0;
            (theirs, filled) = ((theirs + refill).min(10_000.0), now);
            match step {
                Step::Pass(millis) => now = now.plus(Duration::from_millis(millis)),
                Step::Foresee(calls) => {
                    if let BudgetAnswer::Granted { calls, tokens, .. } =
                        budget.apply(&BudgetEvent::Foreseen { calls }, now, &rules)
                    {
                        running.extend(std::iter::repeat_n(tokens, calls as usize));
                        theirs -= tokens as f64 * f64::from(calls);
                    }
                }
                Step::Reserve(tokens) => {
                    if budget.apply(&reserved(tokens), now, &rules) == granted(tokens) {
                        running.push(tokens);
                        theirs -= tokens as f64;
                    }
                }
                Step::Settle(share) => {
                    if let Some(reserved) = running.pop() {
                        let used = (reserved as f64 * share) as u64;
                        budget.apply(&BudgetEvent::Settled { reserved, used, prompt: None }, now, &rules);
                        theirs = (theirs + reserved as f64 - used as f64).min(10_000.0);
                    }
                }
            }
            prop_assert!(theirs >= -1.0, "{theirs}");
        }
    }
}
