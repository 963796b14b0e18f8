//! The store on a Redis server: its fixture for the contract, and what only a server can do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ragq::{
    domain::clock::{ManualClock, Timestamp},
    queue::{
        Maintenance as _, SharedJobStore,
        redis::{
            RedisJobStore, RedisOptions,
            link::{Link, LinkOptions, Mode},
        },
    },
};

use super::contract::{self, Fixture, Limits, START};
use crate::support::redis::Server;

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
