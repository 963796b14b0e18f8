//! Stalls, kills, restarts and refusals: calls go on, each done once or knowing that it may have been.

use std::time::Duration;

use ragq::queue::redis::link::{Confirm, Link, LinkError, Script};
use redis::aio::MultiplexedConnection;

use super::{call, link, mark, options};
use crate::support::{eventually, proxy::Proxy, redis::Server};

async fn run(client: &mut MultiplexedConnection, words: &str) -> redis::Value {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>()).query_async(client).await.unwrap()
}

/// How many connections the server has accepted so far.
async fn connections(client: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(client).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn many_calls_at_once_are_answered_each_with_its_own_reply() {
    let server = Server::start(&[]).await;
    let link = link(server.url());
    let echo = Script::new("return ARGV[1]");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..500_u64 {
        let (link, echo) = (link.clone(), echo.clone());
        calls.spawn(async move {
            let told: u64 = link.script(&echo, Confirm::No, |_, call| number_to(call, number)).await.unwrap();
            assert_eq!(told, number);
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert_eq!(link.reconnects(), 0);
}

#[tokio::test]
async fn a_killed_connection_is_opened_again_once_for_all_callers() {
    let server = Server::start(&[]).await;
    let link = link(server.url());
    call(&link, "before").await;
    let mut client = server.client().await;
    let opened = connections(&mut client).await;
    run(&mut client, "CLIENT KILL TYPE normal SKIPME yes").await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200 {
        let link = link.clone();
        calls.spawn(async move { call(&link, &format!("call {number}")).await });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert_eq!(link.reconnects(), 1);
    assert_eq!(connections(&mut client).await, opened + 1);
}

#[tokio::test]
async fn calls_go_on_after_a_kill_and_restart_from_the_append_only_file() {
    let mut server = Server::start(&[("appendfsync", "always")]).await;
    let link = link(server.url());
    call(&link, "before").await;
    server.kill9().await;
    let waiting = {
        let link = link.clone();
        tokio::spawn(async move { call(&link, "meanwhile").await })
    };
    server.restart().await;
    waiting.await.unwrap();
    assert_eq!(mark(&link, "before", Confirm::No).await.unwrap().0, 1, "what was there before is still there");
}

#[tokio::test]
async fn a_stall_is_waited_out_and_no_late_reply_reaches_another_call() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let mut options = options(proxy.url());
    options.response_timeout = Duration::from_millis(200);
    let link = Link::new(options).unwrap();
    call(&link, "before").await;
    server.stop_signal();
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let link = link.clone();
            let echo = Script::new("return ARGV[1]");
            tokio::spawn(async move {
                let told: u64 = link.script(&echo, Confirm::No, |_, call| number_to(call, number)).await.unwrap();
                assert_eq!(told, number);
            })
        })
        .collect();
    let stalled = link.clone();
    let marked = tokio::spawn(async move { mark(&stalled, "stalled", Confirm::No).await.unwrap() });
    // The first connection was given up for another, which is not answered either.
    eventually(async || (proxy.connections() > 3).then_some(())).await;
    server.cont_signal();
    for call in calls {
        call.await.unwrap();
    }
    let (_, again) = marked.await.unwrap();
    assert!(again, "a call that timed out is sent again as one that may have run");
    assert!(link.reconnects() >= 1);
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_left_and_found_again_as_a_primary() {
    let server = Server::start(&[]).await;
    let link = link(server.url());
    call(&link, "before").await;
    let mut client = server.client().await;
    // Of a primary that is not there: it refuses writes.
    run(&mut client, "REPLICAOF 127.0.0.1 1").await;
    let waiting = {
        let link = link.clone();
        tokio::spawn(async move { call(&link, "meanwhile").await })
    };
    eventually(async || (link.reconnects() > 0).then_some(())).await;
    run(&mut client, "REPLICAOF NO ONE").await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_still_loading_is_waited_for() {
    // It looks up from its reading every kilobyte, to say that it is loading.
    let settings = [("rdbcompression", "no"), ("loading-process-events-interval-bytes", "1024")];
    let mut server = Server::start(&settings).await;
    let mut client = server.client().await;
    run(&mut client, "DEBUG POPULATE 200 key 2000").await;
    run(&mut client, "BGREWRITEAOF").await;
    eventually(async || {
        let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut client).await.unwrap();
        (info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")).then_some(())
    })
    .await;
    // Microseconds for each key.
    server.set("key-load-delay", "5000");
    server.restart_loading().await;
    let link = link(server.url());
    call(&link, "meanwhile").await;
    assert!(link.reconnects() > 0, "it answered that it was loading: {}", server.log());
}

#[tokio::test]
async fn a_call_whose_reply_is_cut_is_sent_again_as_one_that_may_have_run() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let link = link(proxy.url());
    call(&link, "before").await;
    for (bytes, name) in [(0, "none of it"), (1, "its type"), (5, "half of it")] {
        proxy.cut("EVALSHA", bytes);
        assert_eq!(mark(&link, name, Confirm::No).await.unwrap(), (1, true), "{name}");
    }
    assert_eq!(link.reconnects(), 3);
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_is_given_them_again() {
    let server = Server::start(&[]).await;
    let link = link(server.url());
    call(&link, "before").await;
    run(&mut server.client().await, "SCRIPT FLUSH").await;
    call(&link, "after").await;
    assert_eq!(link.reconnects(), 0, "that is no fault");
}

#[tokio::test]
async fn an_outage_longer_than_patience_is_an_error_that_says_what_happened() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let mut options = options(proxy.url());
    options.patience = Duration::from_millis(300);
    let link = Link::new(options).unwrap();
    call(&link, "before").await;
    proxy.refuse(true);
    let error = mark(&link, "meanwhile", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)), "{error}");
    proxy.refuse(false);
    eventually(async || mark(&link, "after", Confirm::No).await.ok()).await;
}

#[tokio::test]
async fn callers_of_a_server_that_is_gone_knock_together_and_not_each_for_itself() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    proxy.refuse(true);
    let link = link(proxy.url());
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..500 {
        let link = link.clone();
        calls.spawn(async move { call(&link, &format!("call {number}")).await });
    }
    eventually(async || (proxy.connections() >= 5).then_some(())).await;
    proxy.refuse(false);
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert!(proxy.connections() < 50, "{}", proxy.connections());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    let mut options = options("redis://nowhere.invalid/");
    options.patience = Duration::from_millis(100);
    let error = mark(&Link::new(options).unwrap(), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_full_memory_is_told_at_once_and_frees_itself_when_there_is_room() {
    let server = Server::start(&[("maxmemory", "1")]).await;
    let link = link(server.url());
    let error = mark(&link, "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Full(_)), "{error}");
    run(&mut server.client().await, "CONFIG SET maxmemory 100mb").await;
    call(&link, "call").await;
    assert_eq!(link.reconnects(), 0);
}

#[tokio::test]
async fn a_disk_that_can_not_be_written_is_told_at_once() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    proxy.answer("EVALSHA", "-MISCONF Errors writing to the AOF file: No space left on device\r\n");
    let error = mark(&link(proxy.url()), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Disk(_)), "{error}");
    assert_eq!(proxy.seen("EVALSHA"), 1);
}

#[tokio::test]
async fn a_script_that_fails_and_a_reply_of_another_type_are_told_at_once() {
    let server = Server::start(&[]).await;
    let link = link(server.url());
    for source in ["return redis.call('LPUSH', KEYS[1])", "return 'swordfish'", "return {1, 'swordfish'}"] {
        let error = link.script::<u64>(&Script::new(source), Confirm::No, |_, _| {}).await.unwrap_err();
        assert!(matches!(error, LinkError::Broken(_)), "{source}: {error}");
        assert!(!error.to_string().contains("swordfish"), "nobody's payload is shown: {error}");
    }
    assert_eq!(link.reconnects(), 0);
}

#[tokio::test]
async fn a_connection_of_ones_own_waits_longer_than_any_response_timeout() {
    let server = Server::start(&[]).await;
    let mut options = options(server.url());
    options.response_timeout = Duration::from_millis(50);
    let link = Link::new(options).unwrap();
    let mut own = link.dedicated().await.unwrap();
    let waiting = tokio::spawn(async move {
        redis::cmd("BLPOP").arg("list").arg(0).query_async::<(String, String)>(&mut own).await.unwrap()
    });
    let mut client = server.client().await;
    eventually(async || {
        let info: String = redis::cmd("INFO").arg("clients").query_async(&mut client).await.unwrap();
        info.contains("blocked_clients:1").then_some(())
    })
    .await;
    run(&mut client, "DEBUG SLEEP 0.2").await;
    run(&mut client, "RPUSH list value").await;
    assert_eq!(waiting.await.unwrap().1, "value");
}

#[tokio::test]
async fn subscriptions_are_heard() {
    use futures::StreamExt as _;

    let server = Server::start(&[]).await;
    let mut heard = link(server.url()).pubsub().await.unwrap();
    heard.subscribe("{ragq}:wake").await.unwrap();
    run(&mut server.client().await, "PUBLISH {ragq}:wake now").await;
    let message = heard.on_message().next().await.unwrap();
    assert_eq!(message.get_payload::<String>().unwrap(), "now");
}

fn number_to(call: &mut redis::Cmd, number: u64) {
    call.arg(number);
}
