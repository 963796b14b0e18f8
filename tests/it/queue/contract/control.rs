//! Cancelling many, the audit log, the history.

use ragq::{
    domain::audit::{ActionId, AdminAction, AuditNote, AuditStage},
    queue::{
        CancelStep, CancelTally,
        history::{Flow, HistoryInterval, Span},
    },
};

use super::*;

async fn cancel(store: &dyn JobStore, kind: Kind, status: Status, step: (usize, usize, bool)) -> CancelTally {
    let (skip, max, dry_run) = step;
    store.cancel_some(kind, status, CancelStep { skip, max, dry_run }).await.unwrap()
}

pub async fn jobs_of_a_kind_and_state_are_cancelled_in_steps<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    for priority in [Priority::Low, Priority::High, Priority::Normal, Priority::Low, Priority::High] {
        submit(&*store, NewJob { priority, ..chat("q") }).await;
    }
    let running = take(&*store, &worker).await.lease;
    let later = NewJob { delay: Some(Duration::from_mins(1)), ..chat("later") };
    let later = submit(&*store, later).await;
    submit(&*store, NewJob { delay: Some(Duration::from_mins(2)), ..put("d", "text") }).await;
    submit(&*store, put("e", "text")).await;

    let (seen, matched, cancelled) = (2, 2, 0);
    assert_eq!(
        cancel(&*store, Kind::Chat, Status::Queued, (2, 10, true)).await,
        CancelTally { seen, matched, cancelled }
    );
    for expected in [3, 1, 0] {
        let done = cancel(&*store, Kind::Chat, Status::Queued, (0, 3, false)).await;
        assert_eq!((done.matched, done.cancelled), (expected, expected));
    }
    let (mut skip, mut cancelled) = (0, 0);
    loop {
        let done = cancel(&*store, Kind::Chat, Status::Scheduled, (skip, 1, false)).await;
        skip += done.seen - done.cancelled;
        cancelled += done.cancelled;
        if done.seen == 0 {
            break;
        }
    }
    assert_eq!((cancelled, view(&*store, later).await.status), (1, Status::Cancelled));
    assert_eq!(cancel(&*store, Kind::Chat, Status::Running, (0, 10, false)).await.cancelled, 1);
    assert_eq!(store.finish(&running, completed("late"), UsageTotal::default()).await.unwrap(), Fenced::Stale);
    let counts = store.stats().await.unwrap().counts;
    assert_eq!((counts[&Status::Cancelled], counts[&Status::Queued], counts[&Status::Scheduled]), (6, 1, 1));
    adds_up(&*store, 8).await;
}

pub fn note(number: u64) -> AuditNote {
    AuditNote {
        action_id: None,
        action: AdminAction::DiscardLetter,
        stage: if number == 1 { AuditStage::Begun } else { AuditStage::Done },
        actor: "admin".into(),
        remote_address: None,
        request_id: format!("request {number}"),
        subject: Some("01J9ZC6M1V7H0Q8T3X5K2B4N6P".into()),
        count: number,
        detail: Some(json!({ "number": number })),
    }
}

pub async fn the_audit_log_is_read_newest_first_and_kept_for_its_time<F: Fixture>() {
    let mut fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    // The same thing may be done twice in one instant.
    for number in [1, 2, 2, 3] {
        store.note(&note(number)).await.unwrap();
    }
    drop(store);
    fixture.reopen().await;
    let store = fixture.store();
    let first = store.audit(None, 3).await.unwrap();
    let notes: Vec<_> = first.items.iter().map(|entry| entry.note.clone()).collect();
    assert_eq!(notes, [note(3), note(2), note(2)]);
    assert_eq!(first.items[0].at, START);
    let second = store.audit(first.next_cursor.as_deref(), 3).await.unwrap();
    assert_eq!((second.items[0].note.count, second.items.len(), second.next_cursor), (1, 1, None));

    fixture.pass(Duration::from_hours(60 * 24)).await;
    store.note(&note(4)).await.unwrap();
    fixture.pass(Duration::from_hours(31 * 24)).await;
    store.upkeep().await.unwrap();
    let left: Vec<_> = store.audit(None, 10).await.unwrap().items.into_iter().map(|entry| entry.note.count).collect();
    assert_eq!(left, [4], "90 days are over for the others");
}

pub async fn an_entry_of_the_audit_log_is_there_once_however_often_it_is_added<F: Fixture>() {
    let mut fixture = F::open(Limits::default()).await;
    let (first, second) = (Some(ActionId::new(START)), Some(ActionId::new(START)));
    let begun = AuditNote { action_id: first, ..note(1) };
    let done = AuditNote { stage: AuditStage::Done, ..begun.clone() };
    let other = AuditNote { action_id: second, ..begun.clone() };
    for note in [&begun, &begun, &other, &done] {
        fixture.store().note(note).await.unwrap();
    }
    fixture.reopen().await;
    fixture.pass(Duration::from_mins(1)).await;
    let store = fixture.store();
    store.note(&begun).await.unwrap();
    let entries = store.audit(None, 10).await.unwrap().items;
    let notes: Vec<_> = entries.into_iter().map(|entry| entry.note).collect();
    assert_eq!(notes, [done, other, begun]);
}

pub async fn the_history_adds_up_what_processes_count_and_what_the_store_does<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    submit(&*store, chat("first")).await;
    submit(&*store, NewJob { deadline: Some(Duration::from_secs(1)), ..chat("late") }).await;
    let cancelled = submit(&*store, chat("cancelled")).await;
    submit(&*store, put("d", "text")).await;
    submit(&*store, NewJob { delay: Some(Duration::from_hours(1)), ..chat("later") }).await;
    submit(&*store, NewJob { delay: Some(Duration::from_hours(1)), ..put("e", "text") }).await;
    store.cancel(&"default".into(), cancelled).await.unwrap();
    store.cancel(&"default".into(), cancelled).await.unwrap();
    fixture.pass(Duration::from_secs(6)).await;
    take(&*store, &worker).await;
    store.counts().count(Kind::Chat, Flow::Completed);
    store.counts().took(Kind::Chat, Span::Run, Duration::from_millis(100));
    store.upkeep().await.unwrap();
    let intervals = store.history(60).await.unwrap();
    let interval = HistoryInterval::of(intervals.last().unwrap());
    assert_eq!(interval.at.0 % 15_000, 0);
    let (all, chat) = (&interval.all, &interval.kinds[&Kind::Chat]);
    let ingest = &interval.kinds[&Kind::Ingest];
    assert_eq!((all.submitted, chat.submitted, ingest.submitted), (6, 4, 2));
    assert_eq!((all.scheduled, chat.scheduled, ingest.scheduled), (2, 1, 1));
    assert_eq!((all.completed, all.cancelled), (1, 1), "cancelled once");
    assert_eq!((all.queued, chat.queued, chat.running), (1, 0, 1));
    let p95 = |times: Option<ragq::queue::history::Percentiles>| times.unwrap().p95;
    assert!((5_400..=6_600).contains(&p95(chat.wait_ms)) && (90..=110).contains(&p95(chat.run_ms)), "{interval:?}");
    let dead: u64 = intervals.iter().map(|interval| HistoryInterval::of(interval).all.dead).sum();
    assert_eq!(dead, 1, "of its deadline");

    fixture.pass(Duration::from_mins(4)).await;
    assert!(store.history(3).await.unwrap().is_empty());
    assert!(!store.history(5).await.unwrap().is_empty());
}
