//! Figures, pause and resume, dead letters, retention.

use std::time::Duration;

use ragq::{
    domain::{
        clock::Timestamp,
        failure::Code,
        job::{AttemptOutcome, DeadReason, Idempotency, Kind, NewJob, Status, Submitted},
    },
    queue::{DeadLetterFilter, KindStats, Replay},
};

use super::*;

pub async fn figures_count_every_state<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let empty = store.stats().await.unwrap();
    assert_eq!(empty.counts.len(), Status::ALL.len(), "all states are present");
    assert_eq!((empty.backlog, empty.oldest_queued_age_ms), (0, None));
    let worker = beat(&*store, "w").await;
    dead_letter(&*store, &worker, Code::ContextTooLong).await;
    submit(&*store, chat("done")).await;
    let lease = take(&*store, &worker).await.lease;
    complete(&*store, &lease, "done").await;
    submit(&*store, chat("running")).await;
    take(&*store, &worker).await;
    let cancelled = submit(&*store, chat("cancelled")).await;
    store.cancel(&"default".into(), cancelled).await.unwrap();
    submit(&*store, NewJob { delay: Some(Duration::from_mins(1)), ..chat("later") }).await;
    submit(&*store, chat("queued")).await;
    fixture.pass(Duration::from_millis(700)).await;
    submit(&*store, chat("queued")).await;
    let stats = store.stats().await.unwrap();
    let expected = [1, 1, 1, 1, 1].into_iter();
    let statuses = [Status::Scheduled, Status::Running, Status::Completed, Status::Dead, Status::Cancelled];
    for (status, count) in statuses.into_iter().zip(expected) {
        assert_eq!(stats.counts[&status], count, "{status}");
    }
    assert_eq!((stats.counts[&Status::Queued], stats.backlog, stats.running), (2, 2, 1));
    assert_eq!(stats.oldest_queued_age_ms, Some(700));
    assert_eq!((stats.workers.len(), stats.workers[0].running), (1, 1));
    assert_eq!((&stats.workers[0].info.id, stats.workers[0].last_heartbeat_at), (&worker, START));
    adds_up(&*store, 7).await;
}

pub async fn figures_tell_kinds_and_reasons_apart<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let empty = store.stats().await.unwrap();
    assert!(Kind::ALL.iter().all(|kind| empty.kinds[kind] == KindStats::default()), "{:?}", empty.kinds);
    assert!(DeadReason::ALL.iter().all(|reason| empty.dead[reason] == 0), "{:?}", empty.dead);
    let worker = beat(&*store, "w").await;
    let later = Some(Duration::from_mins(1));
    submit(&*store, put("a", "waits")).await;
    submit(&*store, NewJob { delay: later, ..put("b", "later") }).await;
    let called_off = submit(&*store, NewJob { delay: later, ..put("c", "called off") }).await;
    store.cancel(&"default".into(), called_off).await.unwrap();
    submit(&*store, NewJob { delay: later, ..chat("later") }).await;
    dead_letter(&*store, &worker, Code::ContextTooLong).await;
    fixture.pass(Duration::from_millis(200)).await;
    let deferred = take_kind(&*store, &worker, Kind::Ingest).await;
    release(&*store, &deferred.lease, defer(Duration::from_secs(30))).await;
    submit(&*store, put("d", "runs")).await;
    take_kind(&*store, &worker, Kind::Ingest).await;
    submit(&*store, put("e", "waits")).await;
    submit(&*store, NewJob { deadline: Some(Duration::from_millis(50)), ..chat("late") }).await;
    fixture.pass(Duration::from_millis(50)).await;
    store.upkeep().await.unwrap();
    let stats = store.stats().await.unwrap();
    let ingest = KindStats { queued: 1, scheduled: 2, running: 1, dead: 0, oldest_queued_age_ms: Some(50) };
    assert_eq!(stats.kinds[&Kind::Ingest], ingest);
    let chat = KindStats { queued: 0, scheduled: 1, running: 0, dead: 2, oldest_queued_age_ms: None };
    assert_eq!(stats.kinds[&Kind::Chat], chat);
    assert_eq!((stats.dead[&DeadReason::Permanent], stats.dead[&DeadReason::DeadlineExceeded]), (1, 1));
    assert_eq!(stats.oldest_queued_age_ms, Some(50));
    fixture.pass(Duration::from_mins(1)).await;
    store.upkeep().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.kinds[&Kind::Ingest].queued, stats.kinds[&Kind::Ingest].scheduled), (3, 0), "all were due");
    assert_eq!((stats.kinds[&Kind::Chat].queued, stats.kinds[&Kind::Chat].scheduled), (1, 0));
}

pub async fn a_paused_kind_is_not_handed_out_even_after_a_restart<F: Fixture>() {
    let mut fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    store.pause(&[Kind::Chat]).await.unwrap();
    store.pause(&[Kind::Chat]).await.unwrap();
    submit(&*store, chat("q")).await;
    submit(&*store, put("d", "text")).await;
    let worker = beat(&*store, "w").await;
    assert!(fetch_ids(&*store, &worker, 1).await.is_empty());
    take_kind(&*store, &worker, Kind::Ingest).await;
    drop(store);
    fixture.reopen().await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    assert_eq!(store.stats().await.unwrap().paused, [Kind::Chat]);
    assert!(fetch_ids(&*store, &worker, 1).await.is_empty());
    store.resume(&[Kind::Chat]).await.unwrap();
    store.wait_for_work(Kind::Chat).await;
    assert_eq!(fetch_ids(&*store, &worker, 1).await.len(), 1);
    assert!(store.stats().await.unwrap().paused.is_empty());
}

pub async fn dead_letters_are_listed_newest_first_and_stably<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(dead_letter(&*store, &worker, Code::ContentRefused).await);
        if number % 2 == 0 {
            fixture.pass(Duration::from_millis(10)).await;
        }
    }
    let all = DeadLetterFilter::default();
    let (mut seen, mut cursor): (Vec<_>, Option<String>) = (Vec::new(), None);
    loop {
        let page = store.dead_letters(&all, cursor.as_deref(), 3).await.unwrap();
        assert!(page.items.is_sorted_by_key(|letter| std::cmp::Reverse(letter.dead_at)));
        seen.extend(page.items.into_iter().map(|letter| letter.job_id));
        // One that dies meanwhile moves no page.
        dead_letter(&*store, &worker, Code::ContentRefused).await;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), ids.len(), "each once");
    ids.sort();
    seen.sort();
    assert_eq!(seen, ids);
}

pub async fn a_large_page_of_dead_letters_holds_as_many_as_were_asked_for<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let mut ids = Vec::new();
    for _ in 0..250 {
        ids.push(submit(&*store, NewJob { deadline: Some(Duration::from_millis(1)), ..chat("late") }).await);
    }
    ids.sort();
    fixture.pass(Duration::from_millis(1)).await;
    store.upkeep().await.unwrap();
    let late = DeadLetterFilter { reason: Some(DeadReason::DeadlineExceeded), ..DeadLetterFilter::default() };
    for filter in [DeadLetterFilter::default(), late] {
        let first = store.dead_letters(&filter, None, 230).await.unwrap();
        let rest = store.dead_letters(&filter, first.next_cursor.as_deref(), 230).await.unwrap();
        assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (230, 20, None));
        let letters: Vec<_> = first.items.iter().chain(&rest.items).collect();
        assert!(letters.is_sorted_by_key(|letter| std::cmp::Reverse((letter.dead_at, letter.job_id))));
        let mut seen: Vec<_> = letters.iter().map(|letter| letter.job_id).collect();
        seen.sort();
        assert_eq!(seen, ids);
        let all = store.dead_letters(&filter, None, 250).await.unwrap();
        assert_eq!((all.items.len(), all.next_cursor), (250, None), "none more than there are");
    }
}

pub async fn dead_letters_are_filtered_and_grouped<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    for code in [Code::ContentRefused, Code::ContextTooLong, Code::ContentRefused] {
        dead_letter(&*store, &worker, code).await;
    }
    let late = submit(&*store, NewJob { deadline: Some(Duration::from_millis(1)), ..put("d", "text") }).await;
    fixture.pass(Duration::from_millis(1)).await;
    store.upkeep().await.unwrap();
    let all = DeadLetterFilter::default();
    let groups = store.dead_letter_groups(&all).await.unwrap();
    let counts: Vec<_> = groups.iter().map(|group| group.count).collect();
    assert_eq!(counts, [2, 1, 1], "largest first");
    assert_eq!((groups[0].reason, groups[0].code), (DeadReason::Permanent, Code::ContentRefused));
    for (filter, expected) in [
        (DeadLetterFilter { reason: Some(DeadReason::DeadlineExceeded), ..all.clone() }, 1),
        (DeadLetterFilter { code: Some(Code::ContentRefused), ..all.clone() }, 2),
        (DeadLetterFilter { kind: Some(Kind::Chat), ..all.clone() }, 3),
        (DeadLetterFilter { kind: Some(Kind::Ingest), code: Some(Code::ContentRefused), ..all.clone() }, 0),
    ] {
        let items = store.dead_letters(&filter, None, 10).await.unwrap().items;
        assert_eq!(items.len(), expected, "{filter:?}");
        let grouped: u64 = store.dead_letter_groups(&filter).await.unwrap().iter().map(|group| group.count).sum();
        assert_eq!(grouped, expected as u64, "{filter:?}");
        assert!(filter.kind != Some(Kind::Ingest) || items.iter().all(|letter| letter.job_id == late));
    }
}

pub async fn a_dead_letter_shows_every_failed_delivery<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("q")).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    release(&*store, &lease, retry(Duration::from_secs(1))).await;
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    let lease = take(&*store, &worker).await.lease;
    release(&*store, &lease, defer(Duration::ZERO)).await;
    store.upkeep().await.unwrap();
    take(&*store, &worker).await;
    silence(&fixture, &limits).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    assert!(store.dead_letter(id).await.unwrap().is_none(), "not dead yet");
    finish(&*store, &lease, dead(Code::ContentRefused)).await;
    let detail = store.dead_letter(id).await.unwrap().unwrap();
    assert_eq!(detail.payload, json!({ "query": "q" }));
    let outcomes: Vec<_> =
        detail.attempts.iter().map(|record| (record.delivery, record.attempt, record.outcome)).collect();
    let expected = [
        (1, 1, AttemptOutcome::Retried),
        (2, 2, AttemptOutcome::Deferred),
        (3, 2, AttemptOutcome::LeaseLost),
        (4, 2, AttemptOutcome::Died),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(detail.attempts[0].error.as_ref().unwrap().code, Code::ProviderError);
    assert_eq!((detail.attempts[2].error.as_ref(), &detail.attempts[3].worker), (None, &worker));
    assert_eq!((detail.letter.attempt, detail.letter.deliveries, detail.letter.lost_leases), (2, 4, 1));
}

pub async fn replaying_twice_delivers_once<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = dead_letter(&*store, &worker, Code::ContentRefused).await;
    let (first, second) = tokio::join!(store.replay(id, None), store.replay(id, None));
    let mut outcomes = [first.unwrap(), second.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == Replay::NotDead);
    assert_eq!(outcomes, [Replay::Replayed, Replay::NotDead]);
    let shown = view(&*store, id).await;
    assert_eq!((shown.status, shown.attempt, shown.deliveries), (Status::Queued, 0, 0));
    assert_eq!((shown.error, shown.finished_at), (None, None));
    let taken = store.fetch(&worker, Kind::Chat, 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].attempt, taken[0].lease.delivery), (1, 2), "the fencing number is never reset");
    assert_eq!(view(&*store, id).await.deliveries, 1);
    assert_eq!(store.replay(id, None).await.unwrap(), Replay::NotDead);
    assert_eq!(store.replay(ragq::domain::ids::JobId::new(0), None).await.unwrap(), Replay::NotDead);
    adds_up(&*store, 1).await;
}

pub async fn a_replay_may_change_the_payload_and_starts_the_deadline_again<F: Fixture>() {
    let fixture = F::open(Limits { max_bytes: 1_000, ..Limits::default() }).await;
    let store = fixture.store();
    let id = submit(&*store, NewJob { deadline: Some(Duration::from_secs(5)), ..chat("old") }).await;
    fixture.pass(Duration::from_secs(5)).await;
    assert_eq!(store.upkeep().await.unwrap().deadlines.total(), 1);
    let long = "x".repeat(2_000);
    assert_eq!(store.replay(id, Some(json!({ "query": long }))).await.unwrap(), Replay::Replayed);
    assert!(matches!(store.submit(chat("no room")).await.unwrap(), Submitted::QueueFull { .. }), "it counts");
    let worker = beat(&*store, "w").await;
    let delivery = take(&*store, &worker).await;
    assert_eq!((delivery.payload, delivery.remaining), (json!({ "query": long }), Some(Duration::from_secs(5))));
    complete(&*store, &delivery.lease, "done").await;
    submit(&*store, chat("room")).await;
}

pub async fn a_discarded_letter_is_gone<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = dead_letter(&*store, &worker, Code::ContentRefused).await;
    let alive = submit(&*store, chat("alive")).await;
    assert!(!store.discard(alive).await.unwrap());
    assert!(store.discard(id).await.unwrap());
    assert!(!store.discard(id).await.unwrap());
    assert!(store.job(&"default".into(), id).await.unwrap().is_none());
    assert!(store.dead_letter(id).await.unwrap().is_none());
    adds_up(&*store, 1).await;
}

pub async fn what_has_ended_is_kept_for_its_time_and_no_longer<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let tenant = "default".into();
    let worker = beat(&*store, "w").await;
    let mut done = Vec::new();
    for _ in 0..250 {
        done.push(submit(&*store, chat("q")).await);
        let lease = take(&*store, &worker).await.lease;
        complete(&*store, &lease, "done").await;
    }
    let cancelled = submit(&*store, chat("q")).await;
    store.cancel(&tenant, cancelled).await.unwrap();
    let letter = dead_letter(&*store, &worker, Code::ContentRefused).await;
    let waiting = submit(&*store, chat("waits for ever")).await;
    fixture.pass(limits.completed_retention.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(store.upkeep().await.unwrap().expired, 0);
    fixture.pass(Duration::from_millis(1)).await;
    assert_eq!(store.upkeep().await.unwrap().expired, 251);
    assert!(store.job(&tenant, done[0]).await.unwrap().is_none());
    assert!(store.events(&tenant, done[0], None, 10).await.unwrap().is_none());
    assert_eq!(view(&*store, letter).await.status, Status::Dead);
    fixture.pass(limits.dead_retention.saturating_sub(limits.completed_retention)).await;
    assert_eq!(store.upkeep().await.unwrap().expired, 1);
    assert!(store.job(&tenant, letter).await.unwrap().is_none());
    assert_eq!(view(&*store, waiting).await.status, Status::Queued);
    adds_up(&*store, 1).await;
}

pub async fn an_idempotency_key_lives_as_long_as_its_job<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    let keyed = || NewJob {
        idempotency: Some(Idempotency { key: "k".into(), fingerprint: "f".into() }),
        id: ragq::domain::ids::JobId::new(Timestamp(0).0),
        ..chat("q")
    };
    let id = submit(&*store, keyed()).await;
    let worker = beat(&*store, "w").await;
    let lease = take(&*store, &worker).await.lease;
    complete(&*store, &lease, "done").await;
    assert_eq!(store.submit(keyed()).await.unwrap(), Submitted::Replayed(id), "also when it is done");
    fixture.pass(limits.completed_retention).await;
    store.upkeep().await.unwrap();
    let again = keyed();
    let id = again.id;
    assert_eq!(store.submit(again).await.unwrap(), Submitted::Accepted(id));
}
