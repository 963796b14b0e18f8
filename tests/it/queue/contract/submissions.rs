//! Submit, look, cancel.

use std::time::Duration;

use ragq::domain::{
    failure::Code,
    ids::JobId,
    job::{Idempotency, Kind, NewJob, Priority, Status, Submitted},
};

use ragq::queue::Cancellation;

use super::*;

fn keyed(key: &str, fingerprint: &str) -> NewJob {
    NewJob { idempotency: Some(Idempotency { key: key.into(), fingerprint: fingerprint.into() }), ..chat("q") }
}

pub async fn a_submitted_job_is_queued_and_shown<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("what?")).await;
    let view = view(&*store, id).await;
    assert_eq!((view.job_id, view.kind, view.status), (id, Kind::Chat, Status::Queued));
    assert_eq!((view.attempt, view.max_attempts, view.deliveries, view.position), (0, 5, 0, Some(0)));
    assert_eq!((view.created_at, view.started_at, view.finished_at), (START, None, None));
    assert!(store.job(&"default".into(), JobId::new(0)).await.unwrap().is_none());
}

pub async fn the_same_idempotency_key_and_request_find_the_first_job<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let first = submit(&*store, keyed("k", "same")).await;
    assert_eq!(store.submit(keyed("k", "same")).await.unwrap(), Submitted::Replayed(first));
    // Many at once: still one job.
    let (a, b, c) =
        tokio::join!(store.submit(keyed("n", "x")), store.submit(keyed("n", "x")), store.submit(keyed("n", "x")));
    let new = [a, b, c].into_iter().filter(|made| matches!(made, Ok(Submitted::Accepted(_)))).count();
    assert_eq!(new, 1);
    adds_up(&*store, 2).await;
}

pub async fn the_same_idempotency_key_with_another_request_is_refused<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    submit(&*store, keyed("k", "one")).await;
    assert_eq!(store.submit(keyed("k", "other")).await.unwrap(), Submitted::IdempotencyMismatch);
    adds_up(&*store, 1).await;
}

pub async fn idempotency_keys_of_tenants_are_apart<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    submit(&*store, keyed("k", "one")).await;
    submit(&*store, NewJob { tenant: "other".into(), ..keyed("k", "another") }).await;
    adds_up(&*store, 2).await;
}

pub async fn another_tenants_job_is_not_there<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let id = submit(&*store, chat("mine")).await;
    let other = "other".into();
    assert!(store.job(&other, id).await.unwrap().is_none());
    assert!(store.cancel(&other, id).await.unwrap().is_none());
    assert!(store.events(&other, id, None, 10).await.unwrap().is_none());
    assert_eq!(view(&*store, id).await.status, Status::Queued);
}

pub async fn a_queue_at_its_limit_of_jobs_refuses_until_one_ends<F: Fixture>() {
    let fixture = F::open(Limits { max_jobs: 2, ..Limits::default() }).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    submit(&*store, chat("1")).await;
    let keyed_id = submit(&*store, keyed("k", "f")).await;
    let running = take(&*store, &worker).await;
    let Submitted::QueueFull { retry_after } = store.submit(chat("3")).await.unwrap() else {
        panic!("running jobs count, too")
    };
    assert!((1..=60).contains(&retry_after.as_secs()), "{retry_after:?}");
    assert_eq!(store.submit(keyed("k", "f")).await.unwrap(), Submitted::Replayed(keyed_id), "takes no room");
    complete(&*store, &running.lease, "done").await;
    submit(&*store, chat("4")).await;
}

pub async fn a_queue_at_its_limit_of_bytes_refuses<F: Fixture>() {
    let fixture = F::open(Limits { max_bytes: 1_000, ..Limits::default() }).await;
    let store = fixture.store();
    let id = submit(&*store, put("d", &"x".repeat(600))).await;
    assert!(matches!(store.submit(put("e", &"x".repeat(600))).await.unwrap(), Submitted::QueueFull { .. }));
    assert_eq!(store.document(&"default".into(), &"e".into()).await.unwrap(), None, "nothing is left of it");
    store.cancel(&"default".into(), id).await.unwrap();
    submit(&*store, put("e", &"x".repeat(600))).await;
}

pub async fn a_delayed_job_is_scheduled_until_its_time<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    assert_eq!(store.upkeep().await.unwrap().next_due, None);
    let id = submit(&*store, NewJob { delay: Some(Duration::from_millis(1_500)), ..chat("later") }).await;
    assert_eq!(view(&*store, id).await.status, Status::Scheduled);
    assert_eq!(store.upkeep().await.unwrap().next_due, Some(Duration::from_millis(1_500)));
    fixture.pass(Duration::from_millis(1_499)).await;
    assert_eq!(store.upkeep().await.unwrap().promoted, 0);
    fixture.pass(Duration::from_millis(1)).await;
    assert_eq!(store.stats().await.unwrap().backlog, 1, "what is due counts");
    assert_eq!(store.upkeep().await.unwrap().promoted, 1);
    assert_eq!(view(&*store, id).await.status, Status::Queued);
}

pub async fn positions_count_the_jobs_that_go_first<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(submit(&*store, chat("q")).await);
    }
    submit(&*store, put("d", "another kind")).await;
    store.cancel(&"default".into(), ids[1]).await.unwrap();
    let mut positions = Vec::new();
    for id in &ids {
        positions.push(view(&*store, *id).await.position);
    }
    assert_eq!(positions, [Some(0), None, Some(1), Some(2)]);
    submit(&*store, NewJob { priority: Priority::High, ..chat("first") }).await;
    assert_eq!(view(&*store, ids[3]).await.position, Some(3));
}

pub async fn a_cancelled_job_is_final_from_every_state<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let tenant = "default".into();
    let worker = beat(&*store, "w").await;
    let running = submit(&*store, chat("running")).await;
    take(&*store, &worker).await;
    let queued = submit(&*store, chat("queued")).await;
    let scheduled = submit(&*store, NewJob { delay: Some(Duration::from_secs(9)), ..chat("later") }).await;
    for id in [running, queued, scheduled] {
        let Cancellation { applied, job: view } = store.cancel(&tenant, id).await.unwrap().unwrap();
        assert_eq!((applied, view.status, view.finished_at), (true, Status::Cancelled, Some(START)));
    }
    let letter = dead_letter(&*store, &worker, Code::ContextTooLong).await;
    let Cancellation { applied, job } = store.cancel(&tenant, letter).await.unwrap().unwrap();
    assert_eq!((applied, job.status), (false, Status::Dead), "it was final");
    assert!(store.cancel(&tenant, JobId::new(0)).await.unwrap().is_none());
    fixture.pass(Duration::from_secs(10)).await;
    store.upkeep().await.unwrap();
    assert!(fetch_ids(&*store, &worker, 10).await.is_empty());
    adds_up(&*store, 4).await;
}

pub async fn watchers_see_every_change<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    let mut watch = store.watch(id);
    let delivery = take(&*store, &worker).await;
    assert_eq!(watch.changed().await.status, Some(Status::Running));
    let mut at_work = store.watch_delivery(&delivery.lease);
    store.cancel(&"default".into(), id).await.unwrap();
    assert_eq!(watch.changed().await.status, Some(Status::Cancelled));
    assert_eq!(at_work.changed().await.status, Some(Status::Cancelled));
}

pub async fn everything_is_still_there_after_a_restart<F: Fixture>() {
    let mut fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let done = submit(&*store, chat("done")).await;
    let lease = take(&*store, &worker).await.lease;
    complete(&*store, &lease, "yes").await;
    let waiting = submit(&*store, chat("waiting")).await;
    let later = submit(&*store, NewJob { delay: Some(Duration::from_secs(1)), ..chat("later") }).await;
    drop(store);
    fixture.reopen().await;
    let store = fixture.store();
    let view_of_done = view(&*store, done).await;
    assert_eq!(view_of_done.result, Some(json!({ "answer": "yes" })));
    assert_eq!((view_of_done.status, view_of_done.attempt), (Status::Completed, 1));
    assert_eq!(view(&*store, later).await.status, Status::Scheduled);
    adds_up(&*store, 3).await;
    let worker = beat(&*store, "w").await;
    assert_eq!(take(&*store, &worker).await.lease.job, waiting);
}
