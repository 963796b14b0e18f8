//! Replays of many dead letters.

use ragq::{
    domain::{
        event::EventKind,
        ids::Tenant,
        replay::{ReplayOrder, ReplayProgress, ReplayTally, Selection},
    },
    queue::ReplayStep,
};

use super::*;

/// Submits a replay of what is selected and takes it.
async fn begin(store: &dyn JobStore, worker: &WorkerId, selection: Selection, limit: u64) -> (Lease, ReplayOrder) {
    let (count, dead_by) = store.count_letters(&selection).await.unwrap();
    let order = ReplayOrder { selection, dead_by, matched: count.min(limit), rate_per_second: None };
    submit(store, replay(&order)).await;
    let delivery = take_kind(store, worker, Kind::Replay).await;
    assert_eq!(serde_json::from_value::<ReplayOrder>(delivery.payload).unwrap(), order);
    (delivery.lease, order)
}

fn replay(order: &ReplayOrder) -> NewJob {
    NewJob { kind: Kind::Replay, tenant: Tenant::operator(), payload: json!(order), ..chat("replay") }
}

async fn step(store: &dyn JobStore, lease: &Lease, order: &ReplayOrder, max: usize) -> ReplayTally {
    match store.replay_letters(lease, order, ReplayStep { max, tell: false }).await.unwrap() {
        Fenced::Applied(tally) => tally,
        Fenced::Stale => panic!("the lease is stale"),
    }
}

async fn dead_letters(store: &dyn JobStore, worker: &WorkerId, code: Code, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(dead_letter(store, worker, code).await);
    }
    ids
}

fn of_code(code: Code) -> Selection {
    Selection { code: Some(code), ..Selection::default() }
}

async fn statuses(store: &dyn JobStore, ids: &[JobId]) -> Vec<Status> {
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(view(store, *id).await.status);
    }
    statuses
}

pub async fn a_replay_puts_back_only_what_is_selected_newest_first_and_in_steps<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut refused = Vec::new();
    let mut others = Vec::new();
    for _ in 0..5 {
        refused.extend(dead_letters(&*store, &worker, Code::ContentRefused, 1).await);
        others.extend(dead_letters(&*store, &worker, Code::ContextTooLong, 1).await);
        fixture.pass(Duration::from_millis(1)).await;
    }
    let (lease, order) = begin(&*store, &worker, of_code(Code::ContentRefused), 4).await;
    assert_eq!(order.matched, 4, "within the limit");
    let tally = step(&*store, &lease, &order, 3).await;
    assert_eq!((tally.replayed, tally.exhausted), (3, false));
    let (dead, queued) = (Status::Dead, Status::Queued);
    assert_eq!(statuses(&*store, &refused).await, [dead, dead, queued, queued, queued]);
    let tally = step(&*store, &lease, &order, 3).await;
    assert_eq!((tally.replayed, tally.just_replayed, tally.exhausted), (4, 1, true));
    let tally = step(&*store, &lease, &order, 3).await;
    assert_eq!((tally.replayed, tally.just_replayed), (4, 0), "and no more");
    assert_eq!(statuses(&*store, &refused).await, [dead, queued, queued, queued, queued]);
    assert_eq!(statuses(&*store, &others).await, [dead; 5]);
    adds_up(&*store, 11).await;
}

pub async fn a_replay_never_meets_what_it_put_back<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    dead_letters(&*store, &worker, Code::ContentRefused, 3).await;
    let (lease, order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    let mut deliveries = 0;
    let tally = loop {
        let tally = step(&*store, &lease, &order, 1).await;
        for delivery in store.fetch(&worker, Kind::Chat, 10).await.unwrap() {
            deliveries += 1;
            finish(&*store, &delivery.lease, dead(Code::ContentRefused)).await;
        }
        // One that dies while the replay runs is not part of it either.
        fixture.pass(Duration::from_millis(1)).await;
        if !tally.exhausted {
            dead_letter(&*store, &worker, Code::ContentRefused).await;
        }
        if tally.exhausted || deliveries > 10 {
            break step(&*store, &lease, &order, 10).await;
        }
    };
    assert_eq!((tally.matched, tally.replayed, tally.failed_again, deliveries), (3, 3, 3, 3));
}

pub async fn a_replay_sees_what_becomes_of_its_letters<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    dead_letters(&*store, &worker, Code::ContentRefused, 6).await;
    let (lease, order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    let tally = step(&*store, &lease, &order, 10).await;
    assert_eq!((tally.replayed, tally.ended), (6, 0));
    let ends = [
        completed("well"),
        dead(Code::ContextTooLong),
        dead(Code::ContextTooLong),
        dead(Code::ContentRefused),
        completed("well"),
    ];
    for end in ends {
        let lease = take(&*store, &worker).await.lease;
        finish(&*store, &lease, end).await;
    }
    step(&*store, &lease, &order, 0).await;
    let tally = step(&*store, &lease, &order, 0).await;
    assert_eq!((tally.ended, tally.failed_again, tally.same_code), (5, 3, 2), "each is counted once");
}

pub async fn a_replay_goes_on_under_its_next_lease_where_it_was<F: Fixture>() {
    let limits = Limits::default();
    let mut fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    dead_letters(&*store, &worker, Code::ContentRefused, 5).await;
    let (first, order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    step(&*store, &first, &order, 2).await;
    assert_eq!(silence(&fixture, &limits).await.leases_lost, 1);
    let stale = store.replay_letters(&first, &order, ReplayStep { max: 10, tell: false }).await.unwrap();
    assert_eq!(stale, Fenced::Stale);
    drop(store);
    fixture.reopen().await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let second = take_kind(&*store, &worker, Kind::Replay).await.lease;
    let tally = step(&*store, &second, &order, 10).await;
    assert_eq!((tally.replayed, tally.exhausted), (5, true));
    assert_eq!(store.fetch(&worker, Kind::Chat, 10).await.unwrap().len(), 5, "each was put back once");
}

pub async fn chosen_letters_are_replayed_if_they_are_still_dead<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let ids = dead_letters(&*store, &worker, Code::ContentRefused, 4).await;
    let alive = submit(&*store, chat("alive")).await;
    let chosen = Selection { ids: Some(vec![ids[0], alive, ids[1], ids[2]]), ..Selection::default() };
    let other = Selection { code: Some(Code::ContextTooLong), ..chosen.clone() };
    assert_eq!(store.count_letters(&other).await.unwrap().0, 0, "the filter holds for chosen ones, too");
    let (lease, order) = begin(&*store, &worker, chosen, u64::MAX).await;
    assert_eq!(order.matched, 3);
    assert!(store.discard(ids[1]).await.unwrap());
    let tally = step(&*store, &lease, &order, 2).await;
    assert_eq!((tally.replayed, tally.exhausted), (1, false));
    let tally = step(&*store, &lease, &order, 2).await;
    let expected = ReplayProgress { matched: 3, replayed: 2, skipped: 1, failed_again: 0 };
    assert_eq!((tally.progress(), tally.exhausted), (expected, true));
    assert_eq!(statuses(&*store, &[ids[0], ids[2], ids[3]]).await, [Status::Queued, Status::Queued, Status::Dead]);
}

pub async fn a_replay_tells_how_far_it_is_and_was_when_it_was_cancelled<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    dead_letters(&*store, &worker, Code::ContentRefused, 3).await;
    let (lease, order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    let operator = Tenant::operator();
    assert_eq!(store.job(&operator, lease.job).await.unwrap().unwrap().progress, None);
    let told = ReplayStep { max: 2, tell: true };
    assert!(matches!(store.replay_letters(&lease, &order, told).await.unwrap(), Fenced::Applied(_)));
    let progress = ReplayProgress { matched: 3, replayed: 2, skipped: 0, failed_again: 0 };
    assert_eq!(store.job(&operator, lease.job).await.unwrap().unwrap().progress, Some(progress));
    assert!(store.job(&"default".into(), lease.job).await.unwrap().is_none(), "it is the operator's");
    let cancelled = store.cancel(&operator, lease.job).await.unwrap().unwrap().job;
    assert_eq!((cancelled.status, cancelled.progress), (Status::Cancelled, Some(progress)));
    assert_eq!(cancelled.result.unwrap()["stopped"], "cancelled");
    assert_eq!(store.replay_letters(&lease, &order, told).await.unwrap(), Fenced::Stale);
    let log = store.events(&operator, lease.job, None, 100).await.unwrap().unwrap().events;
    assert!(log.iter().any(|event| event.kind == EventKind::Progress { progress }), "{log:?}");
}

pub async fn a_full_queue_takes_replays_and_what_they_put_back<F: Fixture>() {
    let limits = Limits { max_jobs: 2, ..Limits::default() };
    let fixture = F::open(limits).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    dead_letters(&*store, &worker, Code::ContentRefused, 2).await;
    submit(&*store, chat("one")).await;
    submit(&*store, chat("two")).await;
    assert!(matches!(store.submit(chat("three")).await.unwrap(), Submitted::QueueFull { .. }));
    let (lease, order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    assert_eq!(step(&*store, &lease, &order, 10).await.replayed, 2);
    complete(&*store, &lease, "done").await;
    assert_eq!(store.fetch(&worker, Kind::Chat, 10).await.unwrap().len(), 4);
    adds_up(&*store, 5).await;
}

pub async fn a_dead_replay_is_not_part_of_another<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let (lease, _) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    finish(&*store, &lease, dead(Code::HandlerPanicked)).await;
    assert_eq!(store.count_letters(&Selection::default()).await.unwrap().0, 0);
    let (lease, mut order) = begin(&*store, &worker, Selection::default(), u64::MAX).await;
    order.matched = 10;
    assert_eq!(step(&*store, &lease, &order, 10).await.replayed, 0);
}
