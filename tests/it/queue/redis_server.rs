//! The store on a Redis server: its fixture for the contract, and what only a server can do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ragq::{
    domain::{
        clock::{ManualClock, Timestamp},
        event::EventKind,
        ids::JobId,
        job::{Kind, Status},
    },
    queue::{
        Deliveries as _, Fenced, Maintenance as _, SharedJobStore, Submissions as _,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Link, LinkOptions, Mode},
        },
    },
};

use super::contract::{self, Fixture, Limits, START, beat, chat, complete, submit, take, view};
use crate::support::{eventually, redis::Server};

/// A store on a server of its own, with a clock that is moved by hand.
pub struct RedisFixture {
    server: Server,
    clock: ManualClock,
    limits: Limits,
    store: Arc<RedisJobStore>,
}

pub fn options(limits: &Limits) -> RedisOptions {
    RedisOptions {
        lease: limits.lease,
        max_lost_leases: limits.max_lost_leases,
        max_jobs: limits.max_jobs,
        max_bytes: limits.max_bytes,
        completed_retention: limits.completed_retention,
        dead_retention: limits.dead_retention,
        ..RedisOptions::default()
    }
}

fn store(server: &Server, limits: &Limits, clock: &ManualClock) -> Arc<RedisJobStore> {
    let options = RedisOptions { clock: Some(Arc::new(clock.clone())), ..options(limits) };
    Arc::new(RedisJobStore::new(link(server, &options), options))
}

pub fn link(server: &Server, options: &RedisOptions) -> Link {
    let link = LinkOptions {
        url: server.url().into(),
        mode: Mode::Single,
        key: options.key(),
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
        patience: Duration::from_secs(5),
        fsync: false,
        min_replicas: 0,
        allow_unsafe: false,
    };
    Link::new(link).unwrap()
}

#[async_trait(?Send)]
impl Fixture for RedisFixture {
    async fn open(limits: Limits) -> Self {
        let server = Server::start(&[]).await;
        let clock = ManualClock::at(Timestamp(START.0 - limits.lease.as_millis() as i64));
        let store = store(&server, &limits, &clock);
        // It takes leases back only once it has been in touch with the server for long enough.
        store.upkeep().await.unwrap();
        for _ in 0..4 {
            clock.advance(limits.lease / 4);
            store.upkeep().await.unwrap();
        }
        Self { server, clock, limits, store }
    }

    fn store(&self) -> SharedJobStore {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn reopen(&mut self) {
        self.store = store(&self.server, &self.limits, &self.clock);
    }
}

contract::every_case!(redis, crate::queue::redis_server::RedisFixture);

/// Another process on the fixture's server.
async fn another(fixture: &RedisFixture) -> Arc<RedisJobStore> {
    store(&fixture.server, &fixture.limits, &fixture.clock)
}

#[tokio::test]
async fn what_another_process_changes_is_heard() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture).await);
    let worker = beat(&*there, "w").await;
    let id = submit(&*here, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued, "whoever looks after that misses nothing");
    let lease = take(&*there, &worker).await.lease;
    assert_eq!(watch.changed().await.status, Some(Status::Running));
    assert!(matches!(there.append_delta(&lease, "text".into()).await.unwrap(), Fenced::Applied(_)));
    watch.changed().await;
    let page = here.events(&"default".into(), id, Some(1), 10).await.unwrap().unwrap();
    assert_eq!(page.events[0].kind, EventKind::Delta { text: "text".into() });
    complete(&*there, &lease, "done").await;
    while watch.changed().await.status != Some(Status::Completed) {}
}

#[tokio::test]
async fn a_worker_hears_of_a_cancel_elsewhere() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture).await);
    let worker = beat(&*here, "w").await;
    let id = submit(&*there, chat("q")).await;
    let lease = take(&*here, &worker).await.lease;
    let mut at_work = here.watch_delivery(&lease);
    there.cancel(&"default".into(), id).await.unwrap();
    assert_eq!(at_work.changed().await.status, Some(Status::Cancelled));
}

#[tokio::test]
async fn a_worker_waiting_elsewhere_is_woken() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture).await);
    let worker = beat(&*there, "w").await;
    let (id, ()) = tokio::join!(submit(&*here, chat("q")), there.wait_for_work(Kind::Chat));
    assert_eq!(take(&*there, &worker).await.lease.job, id);
}

#[tokio::test]
async fn thousands_of_watches_share_a_connection() {
    let fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture).await);
    let mut watches = Vec::new();
    for _ in 0..2_000 {
        watches.push(here.watch(JobId::new(START.0)));
    }
    let worker = beat(&*there, "w").await;
    let id = submit(&*there, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued);
    take(&*there, &worker).await;
    assert_eq!(watch.changed().await.status, Some(Status::Running));
    let mut client = fixture.server.client().await;
    let channels: Vec<String> = ::redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut client).await.unwrap();
    assert!(channels.len() > 2_000, "{}", channels.len());
    let clients: String = ::redis::cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
    assert!(clients.lines().count() <= 6, "{clients}");
    drop((watches, watch));
    eventually(async || {
        let left: Vec<String> = ::redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut client).await.unwrap();
        (left.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn waiters_are_told_what_they_missed_while_the_server_was_away() {
    let mut fixture = RedisFixture::open(Limits::default()).await;
    let (here, there) = (fixture.store(), another(&fixture).await);
    let id = submit(&*there, chat("q")).await;
    let mut watch = here.watch(id);
    assert_eq!(view(&*here, id).await.status, Status::Queued);
    fixture.server.restart().await;
    there.cancel(&"default".into(), id).await.unwrap();
    while watch.changed().await.status != Some(Status::Cancelled) {}
}
