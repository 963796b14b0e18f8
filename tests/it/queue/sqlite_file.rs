//! The store in one `SQLite` file: its fixture for the contract, and what only a file can do.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ragq::{
    domain::{
        clock::{ManualClock, Timestamp},
        ids::WorkerId,
        job::{Kind, Status},
    },
    queue::{
        Maintenance as _, Operations as _, SharedJobStore, StoreError,
        sqlite::{SqliteJobStore, SqliteOptions},
    },
};
use tempfile::TempDir;

use super::contract::{
    self, Fixture, Limits, START,
    documents::{REPLACED, ingest},
};
use crate::support::eventually;

/// A store in a folder of its own, with a clock that is moved by hand.
pub struct SqliteFixture {
    folder: TempDir,
    clock: ManualClock,
    limits: Limits,
    store: Arc<SqliteJobStore>,
}

pub fn options(limits: &Limits) -> SqliteOptions {
    SqliteOptions {
        lease: limits.lease,
        max_lost_leases: limits.max_lost_leases,
        max_jobs: limits.max_jobs,
        max_bytes: limits.max_bytes,
        completed_retention: limits.completed_retention,
        dead_retention: limits.dead_retention,
        take_back_all: false,
        ..SqliteOptions::default()
    }
}

impl SqliteFixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }
}

/// Opens a store that has just been closed: a child that another test starts in the same moment shares the lock
/// until it is a program of its own.
async fn reopened(path: &Path, options: SqliteOptions, clock: &ManualClock) -> Arc<SqliteJobStore> {
    let open = || SqliteJobStore::open(path, options.clone(), Arc::new(clock.clone()));
    eventually(async || open().ok().map(Arc::new)).await
}

#[async_trait(?Send)]
impl Fixture for SqliteFixture {
    async fn open(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(START);
        let store =
            SqliteJobStore::open(&folder.path().join("jobs.db"), options(&limits), Arc::new(clock.clone())).unwrap();
        Self { folder, clock, limits, store: Arc::new(store) }
    }

    fn store(&self) -> SharedJobStore {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = reopened(&self.path(), options(&self.limits), &self.clock).await;
    }
}

#[tokio::test]
async fn a_sweep_cut_short_by_the_process_end_holds_up_no_ingestion_of_the_next() {
    let mut fixture = SqliteFixture::open(Limits::default()).await;
    let store = fixture.store();
    for text in ["one", "two"] {
        ingest(&*store, contract::put("d", text), REPLACED).await;
    }
    assert_eq!(store.leftovers(10).await.unwrap().len(), 1);
    fixture.store.close().await;
    let options = SqliteOptions { take_back_all: true, ..options(&fixture.limits) };
    fixture.store = reopened(&fixture.path(), options, &fixture.clock).await;
    let store = fixture.store();
    // Refused as stale while a sweep is taken to go on.
    ingest(&*store, contract::put("d", "three"), REPLACED).await;
    let left = store.leftovers(10).await.unwrap();
    assert_eq!((left.len(), left[0].keep), (1, Some(3)), "it is still to be swept");
}

#[tokio::test]
async fn a_file_serves_one_store_at_a_time() {
    let fixture = SqliteFixture::open(Limits::default()).await;
    let open = || SqliteJobStore::open(&fixture.path(), options(&fixture.limits), Arc::new(fixture.clock.clone()));
    let refused = open().unwrap_err();
    assert!(format!("{refused:?}").contains("InUse"), "{refused:?}");
    fixture.store.close().await;
    reopened(&fixture.path(), options(&fixture.limits), &fixture.clock).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_what_comes_later() {
    let fixture = SqliteFixture::open(Limits::default()).await;
    let store = fixture.store();
    fixture.store.close().await;
    fixture.store.close().await;
    assert!(matches!(store.submit(contract::chat("late")).await, Err(StoreError::Closed)));
    assert!(matches!(store.stats().await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_worker_without_room_asks_the_writer_nothing() {
    let fixture = SqliteFixture::open(Limits::default()).await;
    let store = fixture.store();
    fixture.store.close().await;
    let worker = WorkerId::boot("w");
    assert!(store.fetch(&worker, Kind::Ingest, 0).await.unwrap().is_empty());
    assert!(store.fetch_deletions(&worker, 0).await.unwrap().is_empty());
    assert!(matches!(store.fetch_deletions(&worker, 1).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn opening_takes_back_what_the_previous_process_held_and_buries_poison() {
    let mut fixture = SqliteFixture::open(Limits { max_lost_leases: 2, ..Limits::default() }).await;
    let store = fixture.store();
    contract::submit(&*store, contract::chat("q")).await;
    let worker = contract::beat(&*store, "w").await;
    let lease = contract::take(&*store, &worker).await.lease;
    for (lost, status) in [(1, Status::Queued), (2, Status::Dead)] {
        fixture.store.close().await;
        let taking = SqliteOptions { take_back_all: true, ..options(&fixture.limits) };
        fixture.store = reopened(&fixture.path(), taking, &fixture.clock).await;
        let store = fixture.store();
        let view = contract::view(&*store, lease.job).await;
        assert_eq!((view.status, view.lost_leases, view.attempt), (status, lost, 0));
        if status == Status::Queued {
            // Work left behind wakes the first worker that waits.
            store.wait_for_work(Kind::Chat).await;
            let worker = contract::beat(&*store, "w").await;
            contract::take(&*store, &worker).await;
        }
    }
    contract::adds_up(&*fixture.store(), 1).await;
}

#[tokio::test]
async fn many_submits_at_once_are_all_stored() {
    let mut fixture = SqliteFixture::open(Limits::default()).await;
    let mut submits = tokio::task::JoinSet::new();
    for number in 0..2_000 {
        let store = fixture.store();
        submits.spawn(async move { contract::submit(&*store, contract::chat(&number.to_string())).await });
    }
    let ids = submits.join_all().await;
    fixture.reopen().await;
    let store = fixture.store();
    for id in &ids {
        assert_eq!(contract::view(&*store, *id).await.status, Status::Queued);
    }
    contract::adds_up(&*store, ids.len() as u64).await;
}

#[tokio::test]
async fn leases_hold_through_a_stall_of_the_whole_process() {
    let fixture = SqliteFixture::open(Limits::default()).await;
    let store = fixture.store();
    contract::submit(&*store, contract::chat("q")).await;
    let worker = contract::beat(&*store, "w").await;
    let delivery = contract::take(&*store, &worker).await;
    store.upkeep().await.unwrap();
    fixture.pass(Duration::from_hours(8)).await;
    assert_eq!(store.upkeep().await.unwrap().leases_lost, 0, "the worker had no chance to beat");
    contract::beat_again(&*store, &worker).await;
    fixture.pass(fixture.limits.lease * 2 / 3).await;
    assert_eq!(store.upkeep().await.unwrap().leases_lost, 0);
    contract::complete(&*store, &delivery.lease, "done").await;
}

#[tokio::test]
async fn when_the_file_can_grow_no_more_callers_are_told_and_the_store_goes_on() {
    let fixture = SqliteFixture::open(Limits::default()).await;
    let store = fixture.store();
    let id = contract::submit(&*store, contract::chat("before")).await;
    // Another connection that holds the write lock stands for a disk that takes no write.
    let blocker = rusqlite::Connection::open(fixture.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.submit(contract::chat("during")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(contract::view(&*store, id).await.status, Status::Queued, "reading goes on");
    blocker.execute_batch("ROLLBACK").unwrap();
    contract::submit(&*store, contract::chat("after")).await;
    contract::adds_up(&*store, 2).await;
}

#[tokio::test]
async fn an_instant_before_the_epoch_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(-5_000)));
    let store = SqliteJobStore::open(&folder.path().join("jobs.db"), SqliteOptions::default(), clock).unwrap();
    contract::submit(&store, contract::chat("q")).await;
    assert_eq!(store.stats().await.unwrap().backlog, 1);
}
