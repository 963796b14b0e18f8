//! Leases: who may write, and what a lost one means.

use std::time::Duration;

use ragq::domain::{failure::Code, job::Status};

use super::*;

pub async fn finishing_with_a_stale_lease_is_refused<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let stale = take(&*store, &worker).await.lease;
    assert_eq!(silence(&fixture, &limits).await.leases_lost, 1);
    let worker = beat(&*store, "other").await;
    let lease = take(&*store, &worker).await.lease;
    let log = |store: SharedJobStore| async move {
        store.events(&"default".into(), id, None, 100).await.unwrap().unwrap().events.len()
    };
    let before = (view(&*store, id).await, log(fixture.store()).await);
    assert_eq!(store.finish(&stale, completed("stale"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    assert_eq!(store.finish(&stale, dead(Code::ContentRefused), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    for way in [retry(Duration::ZERO), defer(Duration::ZERO), Release::HandBack] {
        assert_eq!(store.release(&stale, way, UsageTotal::default()).await.unwrap(), Fenced::Stale);
    }
    assert_eq!(store.append_delta(&stale, "stale".into()).await.unwrap(), Fenced::Stale);
    assert_eq!(store.save_context(&stale, &deliveries::context()).await.unwrap(), Fenced::Stale);
    assert_eq!((view(&*store, id).await, log(fixture.store()).await), before, "nothing was changed");
    complete(&*store, &lease, "fresh").await;
    assert_eq!(view(&*store, id).await.result, Some(json!({ "answer": "fresh" })));
    assert_eq!(store.finish(&lease, completed("twice"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
}

pub async fn a_lost_lease_is_no_attempt<F: Fixture>() {
    let limits = Limits { max_lost_leases: 10, ..Limits::default() };
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let id = submit(&*store, NewJob { max_attempts: 1, ..chat("q") }).await;
    submit(&*store, chat("behind")).await;
    for lost in 1..=4 {
        let worker = beat(&*store, "w").await;
        let delivery = take(&*store, &worker).await;
        assert_eq!((delivery.lease.job, delivery.attempt), (id, 1), "whatever max_attempts says, and in its place");
        let mut watch = store.watch_delivery(&delivery.lease);
        assert_eq!(silence(&fixture, &limits).await.leases_lost, 1);
        assert_eq!(watch.changed().await.status, Some(Status::Queued));
        let view = view(&*store, id).await;
        assert_eq!((view.status, view.attempt, view.lost_leases), (Status::Queued, 0, lost));
        assert_eq!(view.deliveries, u64::from(lost));
    }
}

pub async fn a_job_whose_worker_is_lost_too_often_is_poison<F: Fixture>() {
    let limits = Limits { max_lost_leases: 2, ..Limits::default() };
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    for poisoned in [0, 1] {
        let worker = beat(&*store, "w").await;
        take(&*store, &worker).await;
        let done = silence(&fixture, &limits).await;
        assert_eq!((done.leases_lost, done.poisoned.of(Kind::Chat)), (1, poisoned));
    }
    let shown = view(&*store, id).await;
    assert_eq!((shown.status, shown.attempt, shown.lost_leases), (Status::Dead, 0, 2));
    let letter = store.dead_letter(id).await.unwrap().unwrap();
    assert_eq!((letter.letter.reason, letter.letter.error.code), (DeadReason::Poison, Code::Poison));
    assert_eq!(letter.attempts.len(), 2);
    adds_up(&*store, 1).await;
}

pub async fn a_beating_worker_keeps_its_leases<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    for _ in 0..20 {
        fixture.pass(limits.lease / 4).await;
        beat_again(&*store, &worker).await;
        assert_eq!(store.upkeep().await.unwrap().leases_lost, 0);
    }
    complete(&*store, &lease, "slowly").await;
}

pub async fn the_same_worker_holds_a_new_lease_on_a_second_delivery<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let first = take(&*store, &worker).await.lease;
    silence(&fixture, &limits).await;
    beat_again(&*store, &worker).await;
    let second = take(&*store, &worker).await.lease;
    assert_eq!((second.job, &second.worker), (first.job, &first.worker));
    assert_eq!(store.finish(&first, completed("old"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    complete(&*store, &second, "new").await;
}

pub async fn a_lease_holds_until_the_job_is_anothers_or_ends<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let first = take(&*store, &worker).await.lease;
    assert!(store.holds(&first).await.unwrap());
    silence(&fixture, &limits).await;
    assert!(!store.holds(&first).await.unwrap());
    beat_again(&*store, &worker).await;
    let second = take(&*store, &worker).await.lease;
    assert!(!store.holds(&first).await.unwrap() && store.holds(&second).await.unwrap());
    complete(&*store, &second, "done").await;
    assert!(!store.holds(&second).await.unwrap());
}

pub async fn a_cancelled_job_can_not_be_finished<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    store.cancel(&"default".into(), id).await.unwrap();
    assert_eq!(store.append_delta(&lease, "late".into()).await.unwrap(), Fenced::Stale);
    assert_eq!(store.finish(&lease, completed("late"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    assert_eq!(view(&*store, id).await.status, Status::Cancelled);
}
