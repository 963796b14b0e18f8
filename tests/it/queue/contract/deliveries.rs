//! Fetch, finish, release.

use std::time::Duration;

use ragq::{
    domain::{
        answer::{Context, Passage, Retrieval, RetrievalMode, Turn},
        ids::{JobId, Lease},
        job::{NewJob, Priority, Status},
        origin::Origin,
        spent::UsageTotal,
    },
    queue::Replay,
};

use super::*;

pub async fn jobs_are_handed_over_in_order<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(submit(&*store, chat(&number.to_string())).await);
    }
    let first = take(&*store, &worker).await;
    assert_eq!((first.lease.job, first.attempt, first.lease.delivery), (ids[0], 1, 1));
    assert_eq!(first.payload, json!({ "query": "0" }));
    assert_eq!(fetch_ids(&*store, &worker, 10).await, ids[1..]);
    assert!(fetch_ids(&*store, &worker, 10).await.is_empty());
    let shown = view(&*store, ids[0]).await;
    assert_eq!((shown.status, shown.attempt, shown.deliveries), (Status::Running, 1, 1));
}

pub async fn priorities_are_taken_eight_to_four_to_one<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut low = Vec::new();
    for _ in 0..30 {
        low.push(submit(&*store, NewJob { priority: Priority::Low, ..chat("l") }).await);
        submit(&*store, NewJob { priority: Priority::Normal, ..chat("n") }).await;
        submit(&*store, NewJob { priority: Priority::High, ..chat("h") }).await;
    }
    let mut taken = Vec::new();
    while taken.len() < 26 {
        taken.extend(fetch_ids(&*store, &worker, 2).await);
    }
    assert_eq!(taken.iter().filter(|id| low.contains(id)).count(), 2, "one in thirteen, whatever the batch");
    taken.extend(fetch_ids(&*store, &worker, 100).await);
    assert_eq!(taken.len(), 90);
    let kept: Vec<_> = taken.iter().filter(|id| low.contains(id)).copied().collect();
    assert_eq!(kept, low, "in order within a priority");
}

pub async fn kinds_have_lists_of_their_own<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    submit(&*store, put("d", "text")).await;
    assert!(store.fetch(&worker, Kind::Chat, 1).await.unwrap().is_empty());
    assert_eq!(take_kind(&*store, &worker, Kind::Ingest).await.kind, Kind::Ingest);
}

pub async fn a_worker_that_has_not_beaten_gets_nothing<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    submit(&*store, chat("q")).await;
    let worker = WorkerId::boot("w");
    assert!(fetch_ids(&*store, &worker, 1).await.is_empty());
    beat_again(&*store, &worker).await;
    assert_eq!(fetch_ids(&*store, &worker, 1).await.len(), 1);
}

pub async fn a_waiting_worker_is_woken<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    // Whatever a new store may have to say first.
    while tokio::time::timeout(Duration::from_millis(20), store.wait_for_work(Kind::Chat)).await.is_ok() {}
    let (id, ()) = tokio::join!(submit(&*store, chat("q")), store.wait_for_work(Kind::Chat));
    // A wake that nobody waits for is kept.
    let second = submit(&*store, chat("q")).await;
    store.wait_for_work(Kind::Chat).await;
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(lease.job, id);
    // Handed on while work remains.
    store.wait_for_work(Kind::Chat).await;
    assert_eq!(take(&*store, &worker).await.lease.job, second);
    release(&*store, &lease, Release::HandBack).await;
    store.wait_for_work(Kind::Chat).await;
    let lease = take(&*store, &worker).await.lease;
    release(&*store, &lease, retry(Duration::from_secs(1))).await;
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    store.wait_for_work(Kind::Chat).await;
}

pub async fn a_worker_that_fetched_before_it_beat_is_woken_by_its_beat<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    // The wake of the submit is spent on a fetch that comes too early.
    store.wait_for_work(Kind::Chat).await;
    assert!(fetch_ids(&*store, &WorkerId::boot("early"), 1).await.is_empty());
    while tokio::time::timeout(Duration::from_millis(20), store.wait_for_work(Kind::Chat)).await.is_ok() {}
    let worker = beat(&*store, "w").await;
    store.wait_for_work(Kind::Chat).await;
    assert_eq!(take(&*store, &worker).await.lease.job, id);
}

pub async fn a_retry_uses_an_attempt_and_waits_its_time<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    let other = submit(&*store, chat("other")).await;
    let delivery = take(&*store, &worker).await;
    release(&*store, &delivery.lease, retry(Duration::from_millis(250))).await;
    let waiting = view(&*store, id).await;
    assert_eq!((waiting.status, waiting.attempt), (Status::Scheduled, 1));
    let failure = waiting.error.unwrap();
    assert_eq!(failure.code, Code::ProviderError);
    assert_eq!(failure.retry_at, Some(START.plus(Duration::from_millis(250))));
    fixture.pass(Duration::from_millis(249)).await;
    assert_eq!(store.upkeep().await.unwrap().promoted, 0);
    fixture.pass(Duration::from_millis(1)).await;
    assert_eq!(store.upkeep().await.unwrap().promoted, 1);
    assert_eq!(take(&*store, &worker).await.lease.job, other, "a retried job goes to the back");
    let again = take(&*store, &worker).await;
    assert_eq!((again.lease.job, again.attempt, again.lease.delivery), (id, 2, 2));
    complete(&*store, &again.lease, "at last").await;
    let done = view(&*store, id).await;
    assert_eq!((done.status, done.attempt, done.deliveries, done.error), (Status::Completed, 2, 2, None));
}

pub async fn a_retry_of_the_last_attempt_is_dead<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, NewJob { max_attempts: 1, ..chat("q") }).await;
    let delivery = take(&*store, &worker).await;
    release(&*store, &delivery.lease, retry(Duration::from_secs(1))).await;
    let view = view(&*store, id).await;
    assert_eq!((view.status, view.attempt), (Status::Dead, 1));
    assert_eq!(view.error.unwrap().retry_at, None);
    assert_eq!(store.dead_letter(id).await.unwrap().unwrap().letter.reason, DeadReason::AttemptsExhausted);
}

pub async fn a_deferral_does_not_use_an_attempt<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let id = submit(&*store, NewJob { max_attempts: 2, ..chat("q") }).await;
    for round in 1..=10 {
        let worker = beat(&*store, "w").await;
        let delivery = take(&*store, &worker).await;
        assert_eq!((delivery.attempt, delivery.deferrals), (1, round - 1));
        release(&*store, &delivery.lease, defer(Duration::from_secs(1))).await;
        let view = view(&*store, id).await;
        assert_eq!((view.status, view.attempt, view.deferrals), (Status::Scheduled, 0, round));
        fixture.pass(Duration::from_secs(1)).await;
        assert_eq!(store.upkeep().await.unwrap().promoted, 1);
    }
    assert_eq!(view(&*store, id).await.deliveries, 10);
}

pub async fn a_handed_back_job_goes_first_and_is_not_counted<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(submit(&*store, chat("q")).await);
    }
    let taken = store.fetch(&worker, Kind::Chat, 3).await.unwrap();
    for delivery in taken.iter().rev() {
        release(&*store, &delivery.lease, Release::HandBack).await;
    }
    let shown = view(&*store, ids[0]).await;
    assert_eq!((shown.status, shown.attempt, shown.deferrals, shown.lost_leases), (Status::Queued, 0, 0, 0));
    assert_eq!(store.finish(&taken[0].lease, completed("late"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    let again = store.fetch(&worker, Kind::Chat, 4).await.unwrap();
    assert_eq!(again.iter().map(|delivery| delivery.lease.job).collect::<Vec<_>>(), ids);
    assert_eq!((again[0].attempt, again[0].lease.delivery), (1, 2), "the delivery number stays used");
}

pub async fn a_leaving_worker_hands_back_all_it_holds<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let (leaving, staying) = (beat(&*store, "a").await, beat(&*store, "b").await);
    let ids = [submit(&*store, chat("1")).await, submit(&*store, chat("2")).await];
    let kept = submit(&*store, chat("3")).await;
    assert_eq!(fetch_ids(&*store, &leaving, 2).await, ids);
    assert_eq!(fetch_ids(&*store, &staying, 2).await, [kept]);
    store.leave(&leaving).await.unwrap();
    assert_eq!(view(&*store, kept).await.status, Status::Running);
    assert_eq!(store.stats().await.unwrap().workers.len(), 1);
    assert_eq!(fetch_ids(&*store, &staying, 2).await, ids);
    assert_eq!(view(&*store, ids[0]).await.lost_leases, 0);
}

pub async fn a_job_past_its_deadline_is_dead_while_waiting<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let deadline = Some(Duration::from_secs(10));
    let queued = submit(&*store, NewJob { deadline, ..chat("q") }).await;
    let delayed = submit(&*store, NewJob { deadline, delay: Some(Duration::from_mins(1)), ..chat("q") }).await;
    let patient = submit(&*store, chat("q")).await;
    fixture.pass(Duration::from_millis(9_999)).await;
    assert_eq!(store.upkeep().await.unwrap().deadlines.total(), 0);
    fixture.pass(Duration::from_millis(1)).await;
    assert_eq!(store.upkeep().await.unwrap().deadlines.of(Kind::Chat), 2);
    for id in [queued, delayed] {
        let view = view(&*store, id).await;
        assert_eq!((view.status, view.attempt), (Status::Dead, 0));
        assert_eq!(view.error.unwrap().code, Code::DeadlineExceeded);
        assert_eq!(store.dead_letter(id).await.unwrap().unwrap().letter.reason, DeadReason::DeadlineExceeded);
    }
    assert_eq!(view(&*store, patient).await.status, Status::Queued);
    adds_up(&*store, 3).await;
}

pub async fn a_job_past_its_deadline_is_not_handed_over<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let late = submit(&*store, NewJob { deadline: Some(Duration::from_secs(2)), ..chat("late") }).await;
    let in_time = submit(&*store, NewJob { deadline: Some(Duration::from_secs(5)), ..chat("in time") }).await;
    fixture.pass(Duration::from_secs(2)).await;
    let delivery = take(&*store, &worker).await;
    assert_eq!((delivery.lease.job, delivery.remaining), (in_time, Some(Duration::from_secs(3))));
    assert_eq!(view(&*store, late).await.status, Status::Dead);
    assert_eq!(store.upkeep().await.unwrap().deadlines.of(Kind::Chat), 1, "the next round tells of it");
    assert_eq!(store.upkeep().await.unwrap().deadlines.total(), 0, "once");
}

pub async fn a_delivery_says_how_long_the_job_was_queued<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    submit(&*store, chat("q")).await;
    fixture.pass(Duration::from_millis(300)).await;
    let delivery = take(&*store, &worker).await;
    assert_eq!((delivery.created_at, delivery.queued_at), (START, START));
    assert_eq!(delivery.delivered_at.since(delivery.queued_at), Duration::from_millis(300));
    release(&*store, &delivery.lease, defer(Duration::from_secs(1))).await;
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    fixture.pass(Duration::from_millis(20)).await;
    let delivery = take(&*store, &worker).await;
    assert_eq!(
        delivery.delivered_at.since(delivery.queued_at),
        Duration::from_millis(20),
        "waiting for its time is none"
    );
    assert_eq!(delivery.delivered_at.since(delivery.created_at), Duration::from_millis(1_320));
}

pub async fn a_wait_beyond_the_deadline_ends_at_the_deadline<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, NewJob { deadline: Some(Duration::from_secs(5)), ..chat("q") }).await;
    let delivery = take(&*store, &worker).await;
    release(&*store, &delivery.lease, defer(Duration::from_mins(1))).await;
    assert_eq!(store.upkeep().await.unwrap().next_due, Some(Duration::from_secs(5)));
    fixture.pass(Duration::from_secs(5)).await;
    let done = store.upkeep().await.unwrap();
    assert_eq!((done.deadlines.total(), done.promoted), (1, 0));
    assert_eq!(view(&*store, id).await.error.unwrap().code, Code::DeadlineExceeded);
}

pub async fn what_was_retrieved_is_there_for_the_next_attempt<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    submit(&*store, chat("q")).await;
    let first = take(&*store, &worker).await;
    assert_eq!(first.context, None);
    let context = context();
    assert_eq!(store.save_context(&first.lease, &context).await.unwrap(), Fenced::Applied(()));
    release(&*store, &first.lease, Release::HandBack).await;
    let second = take(&*store, &worker).await;
    assert_eq!(second.context, Some(context));
    finish(&*store, &second.lease, dead(Code::ContentRefused)).await;
    store.replay(second.lease.job, None).await.unwrap();
    assert_eq!(take(&*store, &worker).await.context, None, "a replay forgets it");
}

pub fn context() -> Context {
    let passage = Passage {
        document_id: "d".into(),
        version: 1,
        title: "Title".into(),
        source: None,
        collection: "default".into(),
        chunk: 0,
        headings: vec!["Heading".into()],
        start: 0,
        end: 4,
        text: "text".into(),
        score: 0.5,
    };
    Context { passages: [passage].into(), retrieval: Retrieval { mode: RetrievalMode::Lexical, degraded: false } }
}

pub async fn a_conversation_remembers_its_last_turns<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let tenant = "default".into();
    for number in 0..4 {
        let worker = beat(&*store, "w").await;
        submit(&*store, NewJob { conversation_id: Some("c".into()), ..chat("q") }).await;
        let delivery = take(&*store, &worker).await;
        assert_eq!(delivery.conversation_id.as_deref(), Some("c"));
        let turn = Turn { question: format!("q{number}"), answer: format!("a{number}") };
        let result = json!({});
        finish(&*store, &delivery.lease, Finish::Completed { result, document: None, turn: Some(turn) }).await;
        fixture.pass(Duration::from_secs(1)).await;
    }
    let turns = store.turns(&tenant, "c", 2).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.question.as_str()).collect::<Vec<_>>(), ["q2", "q3"]);
    assert!(store.turns(&"other".into(), "c", 2).await.unwrap().is_empty());
    assert!(store.turns(&tenant, "another", 2).await.unwrap().is_empty());
    fixture.pass(limits.completed_retention).await;
    store.upkeep().await.unwrap();
    assert!(store.turns(&tenant, "c", 2).await.unwrap().is_empty(), "gone with their jobs");
}

pub async fn what_a_delivery_cost_is_counted_with_its_end_and_only_if_that_is_applied<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    assert_eq!(view(&*store, id).await.usage_total, UsageTotal::default());
    let worker = beat(&*store, "w").await;
    let cost = UsageTotal { calls: 2, prompt_tokens: 300, completion_tokens: 20, wasted_tokens: 110 };
    let times = |times: u64| UsageTotal {
        calls: cost.calls * times,
        prompt_tokens: cost.prompt_tokens * times,
        completion_tokens: cost.completion_tokens * times,
        wasted_tokens: cost.wasted_tokens * times,
    };
    let ways = [retry(Duration::ZERO), defer(Duration::ZERO), Release::HandBack];
    for (done, way) in ways.into_iter().enumerate() {
        let lease = take(&*store, &worker).await.lease;
        assert_eq!(store.release(&lease, way.clone(), cost).await.unwrap(), Fenced::Applied(()));
        assert_eq!(view(&*store, id).await.usage_total, times(done as u64 + 1), "{way:?}");
        assert_eq!(store.release(&lease, way, cost).await.unwrap(), Fenced::Stale);
        store.upkeep().await.unwrap();
    }
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(store.finish(&lease, dead(Code::ContentRefused), cost).await.unwrap(), Fenced::Applied(()));
    assert_eq!(store.finish(&lease, completed("late"), cost).await.unwrap(), Fenced::Stale);
    assert_eq!(view(&*store, id).await.usage_total, times(4));
    assert_eq!(store.replay(id, None).await.unwrap(), Replay::Replayed);
    assert_eq!(view(&*store, id).await.usage_total, times(4), "what was spent stays spent");
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(store.finish(&lease, completed("a"), cost).await.unwrap(), Fenced::Applied(()));
    assert_eq!(view(&*store, id).await.usage_total, times(5));
}

pub async fn what_a_delivery_cost_that_lost_its_lease_is_added_whoever_has_the_job<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    let cost = UsageTotal { calls: 2, prompt_tokens: 300, completion_tokens: 20, wasted_tokens: 320 };
    store.cancel(&"default".into(), id).await.unwrap();
    store.spend(&lease, cost).await.unwrap();
    store.spend(&lease, UsageTotal { calls: 1, ..UsageTotal::default() }).await.unwrap();
    assert_eq!(view(&*store, id).await.usage_total, UsageTotal { calls: 3, ..cost });
    let gone = Lease { job: JobId::new(START.0), ..lease };
    store.spend(&gone, cost).await.unwrap();
}

pub async fn a_job_keeps_where_it_comes_from<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let origin = Origin { request_id: Some("r-1".to_owned()), context: Some(context) };
    let told = submit(&*store, NewJob { origin: origin.clone(), ..chat("told") }).await;
    let bare = submit(&*store, chat("bare")).await;
    assert_eq!(view(&*store, told).await.trace_id, context.trace);
    assert_eq!(view(&*store, bare).await.trace_id, bare.into());
    let worker = beat(&*store, "w").await;
    for (id, expected, request) in [(told, &origin, "r-1"), (bare, &Origin::default(), &bare.to_string())] {
        let delivery = take(&*store, &worker).await;
        assert_eq!(delivery.origin, *expected);
        finish(&*store, &delivery.lease, dead(Code::ContentRefused)).await;
        assert_eq!(store.dead_letter(id).await.unwrap().unwrap().request_id, request);
    }
}
