//! Writes that wait for the disk or for replicas.

use std::time::Duration;

use ragq::queue::redis::link::{Confirm, Link, LinkError, LinkOptions, Script};

use super::{call, mark, options};
use crate::support::{eventually, proxy::Proxy, redis::Server};

/// A proxy that makes its server one of 7.2, which knows `WAITAOF`.
async fn newer(server: &Server) -> Proxy {
    let proxy = Proxy::start(server.port()).await;
    let info = "redis_version:7.2.0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
    proxy.answer("INFO", &format!("${}\r\n{info}\r\n", info.len()));
    proxy
}

fn link(url: String, change: impl FnOnce(&mut LinkOptions)) -> Link {
    let mut options = options(url);
    change(&mut options);
    Link::new(options).unwrap()
}

#[tokio::test]
async fn a_write_is_confirmed_when_the_disk_has_it() {
    let server = Server::start(&[]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "*2\r\n:1\r\n:0\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    // From here on the server has the script, so that each call is one.
    call(&link, "before").await;
    for name in ["one", "two", "three"] {
        assert_eq!(mark(&link, name, Confirm::Durable).await.unwrap(), (0, false));
    }
    assert_eq!(proxy.seen("WAITAOF"), 3);
    call(&link, "after").await;
    assert_eq!(proxy.seen("WAITAOF"), 3, "only what is to be durable waits");
    assert_eq!(link.reconnects(), 0, "two connections, each opened once");
}

#[tokio::test]
async fn a_write_that_the_disk_has_not_is_there_but_not_confirmed() {
    let server = Server::start(&[]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "*2\r\n:0\r\n:0\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    let error = mark(&link, "call", Confirm::Durable).await.unwrap_err();
    assert!(matches!(error, LinkError::Unconfirmed(_)), "{error}");
    assert_eq!(mark(&link, "call", Confirm::No).await.unwrap(), (1, false), "it is there");
}

#[tokio::test]
async fn a_primary_that_falls_while_it_confirms_is_asked_again_for_a_write_of_this_connection() {
    let server = Server::start(&[]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "*2\r\n:1\r\n:0\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    call(&link, "before").await;
    proxy.cut("WAITAOF", 3);
    assert_eq!(mark(&link, "call", Confirm::Durable).await.unwrap(), (1, true));
    assert_eq!((proxy.seen("EVAL"), proxy.seen("WAITAOF")), (2, 2), "a write before each question");
}

#[tokio::test]
async fn a_call_that_ran_before_its_confirmation_was_refused_for_now_knows_it_when_it_is_sent_again() {
    let server = Server::start(&[]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "-READONLY You can't write against a read only replica.\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    call(&link, "before").await;
    let calling = {
        let link = link.clone();
        tokio::spawn(async move { mark(&link, "call", Confirm::Durable).await.unwrap() })
    };
    eventually(async || (proxy.seen("WAITAOF") > 0).then_some(())).await;
    proxy.answer("WAITAOF", "*2\r\n:1\r\n:0\r\n");
    let (before, again) = calling.await.unwrap();
    assert!(before > 0 && again);
}

#[tokio::test]
async fn a_confirmation_that_is_forbidden_is_missing_and_the_right_is_named() {
    let server = Server::start(&[]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "-NOPERM User app has no permissions to run the 'waitaof' command\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    let error = mark(&link, "call", Confirm::Durable).await.unwrap_err();
    assert!(matches!(error, LinkError::Unconfirmed(_)) && error.to_string().contains("'waitaof'"), "{error}");
}

#[tokio::test]
async fn a_full_memory_does_not_stand_in_the_way_of_a_confirmation() {
    let server = Server::start(&[("maxmemory", "1")]).await;
    let proxy = newer(&server).await;
    proxy.answer("WAITAOF", "*2\r\n:1\r\n:0\r\n");
    let link = link(proxy.url(), |options| options.fsync = true);
    let script = Script::new("#!lua flags=allow-oom\nreturn redis.call('INCR', KEYS[1])");
    let told: u64 = link.script(&script, Confirm::Durable, |_, _| {}).await.unwrap();
    assert!(told >= 1);
}

#[tokio::test]
async fn before_7_2_always_syncing_is_confirmation_enough_and_anything_else_is_refused() {
    let mut server = Server::start(&[("appendfsync", "always")]).await;
    let link = link(server.url(), |options| options.fsync = true);
    assert_eq!(mark(&link, "call", Confirm::Durable).await.unwrap(), (0, false));
    // As after a failover to a server that was set up otherwise.
    server.set("appendfsync", "everysec");
    server.restart().await;
    let error = mark(&link, "after", Confirm::Durable).await.unwrap_err();
    assert!(matches!(error, LinkError::Unsafe(_)), "{error}");
}

#[tokio::test]
async fn a_write_is_confirmed_when_a_replica_has_it() {
    let server = Server::start(&[]).await;
    let mut options = options(server.url());
    options.min_replicas = 1;
    options.patience = Duration::from_millis(300);
    let link = Link::new(options).unwrap();
    let error = mark(&link, "alone", Confirm::Durable).await.unwrap_err();
    assert!(matches!(error, LinkError::Unconfirmed(_)), "{error}");
    let port = server.port().to_string();
    let replica = Server::start(&[("replicaof", &format!("127.0.0.1 {port}"))]).await;
    eventually(async || {
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut server.client().await).await.unwrap();
        info.contains("state=online").then_some(())
    })
    .await;
    eventually(async || mark(&link, "followed", Confirm::Durable).await.ok()).await;
    let there: Option<u64> =
        redis::cmd("HGET").arg(super::KEY).arg("followed").query_async(&mut replica.client().await).await.unwrap();
    assert!(there.is_some(), "it is on the replica");
}
