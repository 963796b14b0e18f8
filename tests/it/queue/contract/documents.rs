//! The document registry.

use std::time::Duration;

use ragq::{
    domain::{
        document::{Change, DocumentCommit, DocumentRecord, DocumentState},
        failure::Code,
        job::{Kind, NewJob, Status},
    },
    queue::{Leftover, Replay},
};

use super::*;

pub const REPLACED: DocumentCommit =
    DocumentCommit::Replaced { title: String::new(), made_with: None, chunks: 3, text_bytes: 40 };

async fn document(store: &dyn JobStore, id: &str) -> Option<DocumentRecord> {
    store.document(&"default".into(), &id.into()).await.unwrap()
}

/// The version of a document that is seen.
async fn seen(store: &dyn JobStore, id: &str) -> Option<u64> {
    let visible = store.visible(&"default".into(), &[id.into()]).await.unwrap();
    visible.get(&id.into()).map(|(_, version)| *version)
}

pub async fn ingest(store: &dyn JobStore, job: NewJob, becomes: DocumentCommit) {
    submit(store, job).await;
    let worker = beat(store, "w").await;
    let delivery = take_kind(store, &worker, Kind::Ingest).await;
    commit(store, &delivery.lease, becomes).await;
}

pub async fn an_ingested_document_is_seen<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let job = submit(&*store, put("d", "text")).await;
    let pending = document(&*store, "d").await.unwrap();
    assert_eq!((pending.state, pending.version, pending.job_id), (DocumentState::Pending, None, job));
    assert_eq!(seen(&*store, "d").await, None);
    let worker = beat(&*store, "w").await;
    let delivery = take_kind(&*store, &worker, Kind::Ingest).await;
    let change = delivery.document.unwrap();
    assert_eq!((change.version, change.change, change.content_hash.as_str()), (1, Change::Put, "hash of text"));
    assert_eq!(store.upload(job).await.unwrap().as_deref(), Some(&b"text"[..]));
    let made_with = Some("a model, analysis 1".to_owned());
    let replaced =
        DocumentCommit::Replaced { title: "T".into(), made_with: made_with.clone(), chunks: 3, text_bytes: 40 };
    commit(&*store, &delivery.lease, replaced).await;
    let ready = document(&*store, "d").await.unwrap();
    assert_eq!((ready.title.as_str(), &ready.made_with), ("T", &made_with));
    assert_eq!((ready.state, ready.version, ready.applied_version), (DocumentState::Ready, Some(1), 1));
    assert_eq!((ready.chunks, ready.size_bytes, ready.content_hash.as_deref()), (3, 40, Some("hash of text")));
    assert_eq!(seen(&*store, "d").await, Some(1));
    assert_ne!(store.upload(job).await.unwrap().as_deref(), Some(&b"text"[..]), "dropped with the job's end");
    assert_eq!(document(&*store, "e").await, None);
    assert!(store.visible(&"other".into(), &["d".into()]).await.unwrap().is_empty());
    assert!(store.leftovers(10).await.unwrap().is_empty(), "a first version leaves nothing behind");
}

pub async fn the_newest_version_wins_whatever_the_order<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    for content in ["one", "two", "three"] {
        submit(&*store, put("d", content)).await;
    }
    let taken = store.fetch(&worker, Kind::Ingest, 3).await.unwrap();
    let version = |index: usize| taken[index].document.as_ref().unwrap().version;
    assert_eq!([version(0), version(1), version(2)], [1, 2, 3]);
    commit(&*store, &taken[1].lease, REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(2));
    commit(&*store, &taken[0].lease, REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(2), "an older version changes nothing");
    commit(&*store, &taken[2].lease, REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(3));
    assert_eq!(document(&*store, "d").await.unwrap().content_hash.as_deref(), Some("hash of three"));
}

pub async fn unchanged_content_only_raises_the_version<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    ingest(&*store, put("d", "same"), REPLACED).await;
    submit(&*store, put("d", "other")).await;
    submit(&*store, put("d", "same")).await;
    let taken = store.fetch(&worker, Kind::Ingest, 2).await.unwrap();
    commit(&*store, &taken[1].lease, DocumentCommit::Unchanged).await;
    let record = document(&*store, "d").await.unwrap();
    assert_eq!((record.version, record.applied_version), (Some(1), 3));
    // The version between comes too late: the newest submission said that the content is to be as it was.
    commit(&*store, &taken[0].lease, REPLACED).await;
    assert_eq!(
        (seen(&*store, "d").await, view(&*store, taken[0].lease.job).await.status),
        (Some(1), Status::Completed)
    );
}

pub async fn unchanged_is_refused_once_another_content_was_applied<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    ingest(&*store, put("d", "same"), REPLACED).await;
    submit(&*store, put("d", "other")).await;
    submit(&*store, put("d", "same")).await;
    let taken = store.fetch(&worker, Kind::Ingest, 2).await.unwrap();
    commit(&*store, &taken[0].lease, REPLACED).await;
    let unchanged = Finish::Completed { result: json!({}), document: Some(DocumentCommit::Unchanged), turn: None };
    assert_eq!(store.finish(&taken[1].lease, unchanged, UsageTotal::default()).await.unwrap(), Fenced::Stale);
    let again = take_kind(&*store, &worker, Kind::Ingest).await;
    assert_eq!((again.lease.job, again.attempt), (taken[1].lease.job, 1), "it is done again, uncounted");
    commit(&*store, &again.lease, REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(3));
}

pub async fn a_deletion_is_a_version<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    ingest(&*store, put("d", "text"), REPLACED).await;
    let older = submit(&*store, put("d", "newer text")).await;
    submit(&*store, delete("d")).await;
    assert_eq!(document(&*store, "d").await.unwrap().state, DocumentState::Deleting);
    assert_eq!(seen(&*store, "d").await, Some(1), "seen until it is deleted");
    let taken = store.fetch(&worker, Kind::Ingest, 2).await.unwrap();
    assert_eq!(taken[1].document.as_ref().unwrap().change, Change::Delete);
    assert_eq!(store.upload(taken[1].lease.job).await.unwrap(), Some(Vec::new()));
    commit(&*store, &taken[1].lease, DocumentCommit::Deleted).await;
    assert_eq!((taken[0].lease.job, seen(&*store, "d").await), (older, None));
    commit(&*store, &taken[0].lease, REPLACED).await;
    assert_eq!((seen(&*store, "d").await, document(&*store, "d").await), (None, None), "it stays deleted");
    ingest(&*store, put("d", "back"), REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(4));
}

pub async fn a_failed_first_ingestion_says_why_and_can_be_replayed<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    let id = submit(&*store, put("d", "text")).await;
    let lease = take_kind(&*store, &worker, Kind::Ingest).await.lease;
    finish(&*store, &lease, dead(Code::DocumentDamaged)).await;
    let failed = document(&*store, "d").await.unwrap();
    assert_eq!((failed.state, failed.error.unwrap().code), (DocumentState::Failed, Code::DocumentDamaged));
    assert_eq!(store.upload(id).await.unwrap().as_deref(), Some(&b"text"[..]), "kept for a replay");
    assert_eq!(store.leftovers(10).await.unwrap().len(), 1, "it may have left chunks behind");
    assert_eq!(store.replay(id, None).await.unwrap(), Replay::Replayed);
    assert!(store.leftovers(10).await.unwrap().is_empty());
    assert_eq!(document(&*store, "d").await.unwrap().state, DocumentState::Pending);
    fixture.pass(Duration::from_mins(2)).await;
    beat_again(&*store, &worker).await;
    let lease = take_kind(&*store, &worker, Kind::Ingest).await.lease;
    commit(&*store, &lease, REPLACED).await;
    let ready = document(&*store, "d").await.unwrap();
    assert_eq!((ready.state, ready.error), (DocumentState::Ready, None));
    // One that fails and is discarded leaves no trace.
    let id = submit(&*store, put("e", "text")).await;
    let lease = take_kind(&*store, &worker, Kind::Ingest).await.lease;
    finish(&*store, &lease, dead(Code::DocumentEmpty)).await;
    assert!(store.discard(id).await.unwrap());
    assert_eq!(document(&*store, "e").await, None);
}

pub async fn superseded_chunks_are_left_over_until_swept<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    ingest(&*store, put("d", "one"), REPLACED).await;
    ingest(&*store, put("d", "two"), REPLACED).await;
    let expected = Leftover { tenant: "default".into(), document_id: "d".into(), keep: Some(2), applied_version: 2 };
    assert_eq!(store.leftovers(10).await.unwrap(), std::slice::from_ref(&expected));
    // Not while an ingestion is under way: it may be writing.
    let id = submit(&*store, put("d", "three")).await;
    assert!(store.leftovers(10).await.unwrap().is_empty());
    take_kind(&*store, &worker, Kind::Ingest).await;
    store.cancel(&"default".into(), id).await.unwrap();
    // What that one wrote came after the sweep began, so the sweep does not answer for it.
    store.swept(&expected).await.unwrap();
    let again = store.leftovers(10).await.unwrap();
    assert_eq!(again, [expected]);
    store.swept(&again[0]).await.unwrap();
    assert!(store.leftovers(10).await.unwrap().is_empty());
    ingest(&*store, delete("d"), DocumentCommit::Deleted).await;
    let all = store.leftovers(10).await.unwrap();
    assert_eq!((all.len(), all[0].keep, all[0].applied_version), (1, None, 4));
    store.swept(&all[0]).await.unwrap();
    assert!(store.leftovers(10).await.unwrap().is_empty());
}

pub async fn an_ingestion_that_ends_during_a_sweep_is_done_again<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    ingest(&*store, put("d", "one"), REPLACED).await;
    ingest(&*store, put("d", "two"), REPLACED).await;
    let sweeping = store.leftovers(10).await.unwrap();
    let id = submit(&*store, put("d", "three")).await;
    let lease = take_kind(&*store, &worker, Kind::Ingest).await.lease;
    // The sweep keeps version 2 only: it may have taken the new chunks with it.
    let replaced = Finish::Completed { result: json!({}), document: Some(REPLACED), turn: None };
    assert_eq!(store.finish(&lease, replaced, UsageTotal::default()).await.unwrap(), Fenced::Stale);
    assert_eq!((seen(&*store, "d").await, view(&*store, id).await.attempt), (Some(2), 0));
    store.swept(&sweeping[0]).await.unwrap();
    fixture.pass(Duration::from_secs(1)).await;
    assert_eq!(store.upkeep().await.unwrap().promoted, 1);
    let lease = take_kind(&*store, &worker, Kind::Ingest).await.lease;
    commit(&*store, &lease, REPLACED).await;
    assert_eq!(seen(&*store, "d").await, Some(3));
}

pub async fn documents_and_collections_are_listed<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let tenant = "default".into();
    let within = |id: &str, collection: &str| {
        let mut job = put(id, "text");
        job.document.as_mut().unwrap().collection = collection.into();
        job
    };
    for id in ["a", "b", "c", "d", "e"] {
        ingest(&*store, within(id, if id < "d" { "first" } else { "second" }), REPLACED).await;
    }
    ingest(&*store, NewJob { tenant: "other".into(), ..within("z", "first") }, REPLACED).await;
    let first = store.documents(&tenant, None, None, 3).await.unwrap();
    let second = store.documents(&tenant, None, first.next_cursor.as_deref(), 3).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|record| record.document_id.to_string()).collect();
    assert_eq!((ids.join(""), second.next_cursor), ("abcde".to_owned(), None));
    let named = store.documents(&tenant, Some(&"second".into()), None, 3).await.unwrap();
    assert_eq!(named.items.len(), 2);
    let collections = || async {
        let found = store.collections(&tenant).await.unwrap();
        found.into_iter().map(|c| (c.name.to_string(), c.documents, c.chunks, c.size_bytes)).collect::<Vec<_>>()
    };
    assert_eq!(collections().await, [("first".into(), 3, 9, 120), ("second".into(), 2, 6, 80)]);
    ingest(&*store, within("a", "second"), REPLACED).await;
    ingest(&*store, delete("b"), DocumentCommit::Deleted).await;
    ingest(&*store, delete("c"), DocumentCommit::Deleted).await;
    assert_eq!(collections().await, [("second".into(), 3, 9, 120)], "empty ones are gone");
}

pub async fn a_large_page_of_documents_holds_as_many_as_were_asked_for<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let ids: Vec<_> = (0..250).map(|number| format!("{number:03}")).collect();
    for id in &ids {
        submit(&*store, put(id, "text")).await;
    }
    let tenant = "default".into();
    let first = store.documents(&tenant, None, None, 230).await.unwrap();
    let rest = store.documents(&tenant, None, first.next_cursor.as_deref(), 230).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (230, 20, None));
    let listed: Vec<_> = first.items.iter().chain(&rest.items).map(|record| record.document_id.to_string()).collect();
    assert_eq!(listed, ids);
}

pub async fn a_tombstone_goes_after_its_time_and_versions_rise_until_then<F: Fixture>() {
    let limits = Limits::default();
    let fixture = F::open(limits.clone()).await;
    let store = fixture.store();
    ingest(&*store, put("d", "text"), REPLACED).await;
    ingest(&*store, delete("d"), DocumentCommit::Deleted).await;
    let next_version = || async {
        let id = submit(&*store, put("d", "text")).await;
        let worker = beat(&*store, "w").await;
        let version = take_kind(&*store, &worker, Kind::Ingest).await.document.unwrap().version;
        store.cancel(&"default".into(), id).await.unwrap();
        version
    };
    assert_eq!(next_version().await, 3);
    fixture.pass(limits.completed_retention).await;
    store.upkeep().await.unwrap();
    assert_eq!(next_version().await, 4, "not before its chunks are swept");
    for leftover in store.leftovers(10).await.unwrap() {
        store.swept(&leftover).await.unwrap();
    }
    fixture.pass(limits.completed_retention).await;
    store.upkeep().await.unwrap();
    assert_eq!(next_version().await, 1);
}

pub async fn deletions_are_handed_over_by_themselves<F: Fixture>() {
    let fixture = F::open(Limits::default()).await;
    let store = fixture.store();
    let worker = beat(&*store, "w").await;
    assert!(store.fetch_deletions(&worker, 8).await.unwrap().is_empty());
    for document in ["a", "b", "c"] {
        submit(&*store, put(document, "text")).await;
    }
    let mut deletions = [submit(&*store, delete("a")).await, submit(&*store, delete("b")).await];
    let one = store.fetch_deletions(&worker, 1).await.unwrap();
    let other = store.fetch_deletions(&worker, 8).await.unwrap();
    let mut taken: Vec<_> = one.iter().chain(&other).map(|delivery| delivery.lease.job).collect();
    taken.sort_unstable();
    deletions.sort_unstable();
    assert_eq!((one.len(), other.len(), taken), (1, 1, deletions.to_vec()));
    assert!(store.fetch_deletions(&worker, 8).await.unwrap().is_empty());
    let (first, second) = (&one[0].lease, &other[0].lease);
    commit(&*store, first, DocumentCommit::Deleted).await;
    assert_eq!(view(&*store, first.job).await.status, Status::Completed);
    // What is put back is found again, also as a dead letter that is replayed.
    release(&*store, second, Release::HandBack).await;
    let again = store.fetch_deletions(&worker, 8).await.unwrap();
    assert_eq!(again.len(), 1);
    finish(&*store, &again[0].lease, dead(Code::Unknown)).await;
    assert!(store.fetch_deletions(&worker, 8).await.unwrap().is_empty());
    assert_eq!(store.replay(second.job, None).await.unwrap(), Replay::Replayed);
    assert_eq!(store.fetch_deletions(&worker, 8).await.unwrap().len(), 1);
    store.pause(&[Kind::Ingest]).await.unwrap();
    submit(&*store, delete("c")).await;
    assert!(store.fetch_deletions(&worker, 8).await.unwrap().is_empty(), "a paused kind is not fetched");
    store.resume(&[Kind::Ingest]).await.unwrap();
    let rest = store.fetch(&worker, Kind::Ingest, 8).await.unwrap();
    assert_eq!(rest.len(), 4, "the three that put, and the last deletion");
    assert!(store.fetch_deletions(&worker, 8).await.unwrap().is_empty());
}
