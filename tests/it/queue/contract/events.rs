//! The event log.

use std::time::Duration;

use ragq::domain::{
    event::{EventKind, JobEvent},
    failure::Code,
    ids::JobId,
};

use super::*;

async fn log(store: &dyn JobStore, id: JobId) -> Vec<JobEvent> {
    let page = store.events(&"default".into(), id, None, 1_000).await.unwrap().unwrap();
    for (number, event) in page.events.iter().enumerate() {
        assert_eq!(event.seq, number as u64, "no gaps");
    }
    page.events
}

fn outline(log: &[JobEvent]) -> Vec<(&'static str, u32)> {
    log.iter().map(|event| (event.kind.name(), event.attempt)).collect()
}

pub async fn the_log_tells_the_jobs_life_in_order<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    assert_eq!(outline(&log(&*store, id).await), [("created", 0)]);
    let lease = take(&*store, &worker).await.lease;
    release(&*store, &lease, defer(Duration::from_secs(1))).await;
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(store.save_context(&lease, &deliveries::context()).await.unwrap(), Fenced::Applied(()));
    assert!(matches!(store.append_delta(&lease, "half".into()).await.unwrap(), Fenced::Applied(_)));
    release(&*store, &lease, retry(Duration::from_secs(1))).await;
    fixture.pass(Duration::from_secs(1)).await;
    store.upkeep().await.unwrap();
    let lease = take(&*store, &worker).await.lease;
    assert!(matches!(store.append_delta(&lease, "whole".into()).await.unwrap(), Fenced::Applied(_)));
    complete(&*store, &lease, "whole").await;
    let log = log(&*store, id).await;
    let expected = [
        ("created", 0),
        ("started", 1),
        ("deferred", 1),
        ("started", 1),
        ("passages", 1),
        ("delta", 1),
        ("retrying", 1),
        ("started", 2),
        ("delta", 2),
        ("completed", 2),
    ];
    assert_eq!(outline(&log), expected);
    assert_eq!(log[1].kind, EventKind::Started { worker: worker.clone() });
    assert_eq!(log[8].kind, EventKind::Delta { text: "whole".into() });
    assert_eq!(log[9].kind, EventKind::Completed { result: json!({ "answer": "whole" }) });
    let EventKind::Passages { citations } = &log[4].kind else { panic!("{:?}", log[4]) };
    assert_eq!((citations.len(), citations[0].index), (1, 1));
    let EventKind::Retrying { code, retry_at, .. } = &log[6].kind else { panic!("{:?}", log[6]) };
    assert_eq!((*code, *retry_at), (Code::ProviderError, START.plus(Duration::from_secs(2))));
}

pub async fn a_log_is_read_in_pages_and_resumed<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let tenant = "default".into();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    let lease = take(&*store, &worker).await.lease;
    for piece in 0..5 {
        assert!(matches!(store.append_delta(&lease, piece.to_string()).await.unwrap(), Fenced::Applied(_)));
    }
    let page = store.events(&tenant, id, Some(6), 10).await.unwrap().unwrap();
    assert!(page.events.is_empty() && !page.ended, "nothing yet, but it goes on");
    complete(&*store, &lease, "done").await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.events(&tenant, id, after, 3).await.unwrap().unwrap();
        after = page.events.last().map(|event| event.seq).or(after);
        seen.extend(page.events.iter().map(|event| event.seq));
        if page.ended {
            break;
        }
        assert_eq!(page.events.len(), 3);
    }
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
    let past = store.events(&tenant, id, Some(7), 3).await.unwrap().unwrap();
    assert!(past.events.is_empty() && past.ended);
}

pub async fn the_log_goes_on_after_a_replay<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let tenant = "default".into();
    let worker = beat(&*store, "w").await;
    let id = dead_letter(&*store, &worker, Code::ContentRefused).await;
    assert!(store.events(&tenant, id, None, 100).await.unwrap().unwrap().ended);
    store.replay(id, None).await.unwrap();
    let page = store.events(&tenant, id, Some(2), 100).await.unwrap().unwrap();
    assert_eq!((outline(&page.events), page.ended), (vec![("replayed", 0)], false));
    let lease = take(&*store, &worker).await.lease;
    complete(&*store, &lease, "now").await;
    let expected = [("created", 0), ("started", 1), ("dead", 1), ("replayed", 0), ("started", 1), ("completed", 1)];
    assert_eq!(outline(&log(&*store, id).await), expected);
}

pub async fn deltas_say_whether_anybody_reads<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, chat("q")).await;
    let lease = take(&*store, &worker).await.lease;
    assert_eq!(store.append_delta(&lease, "a".into()).await.unwrap(), Fenced::Applied(false));
    store.events(&"default".into(), id, None, 10).await.unwrap();
    assert_eq!(store.append_delta(&lease, "b".into()).await.unwrap(), Fenced::Applied(true));
    fixture.pass(Duration::from_secs(10)).await;
    assert_eq!(store.append_delta(&lease, "c".into()).await.unwrap(), Fenced::Applied(false));
}
