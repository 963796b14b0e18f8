//! What is said about a server at start.

use std::time::Duration;

use ragq::queue::redis::link::{Link, LinkError, LinkOptions, Mode};

use super::options;
use crate::support::{proxy::Proxy, redis::Server};

/// The warnings; or why the server is refused.
async fn judged(url: String, change: impl FnOnce(&mut LinkOptions)) -> Result<Vec<String>, String> {
    let mut options = options(url);
    change(&mut options);
    match Link::new(options).unwrap().check().await {
        Ok(warnings) => Ok(warnings.into_iter().map(|warning| warning.message).collect()),
        Err(LinkError::Unsafe(why)) => Err(why),
        Err(other) => panic!("another error: {other}"),
    }
}

#[tokio::test]
async fn a_safe_server_is_taken_without_a_word() {
    let server = Server::start(&[]).await;
    assert_eq!(judged(server.url(), |_| {}).await, Ok(vec![]));
}

#[tokio::test]
async fn a_server_without_append_only_file_or_with_eviction_is_refused_unless_that_is_allowed() {
    let server = Server::start(&[("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")]).await;
    let refused = judged(server.url(), |_| {}).await.unwrap_err();
    assert!(refused.contains("set appendonly yes") && refused.contains("noeviction"), "{refused}");
    let warned = judged(server.url(), |options| options.allow_unsafe = true).await.unwrap();
    assert_eq!(warned.len(), 1, "{warned:?}");
}

#[tokio::test]
async fn a_server_whose_info_is_forbidden_is_asked_by_config_and_else_warned_of() {
    let server = Server::start(&[("appendonly", "no")]).await;
    let proxy = Proxy::start(server.port()).await;
    proxy.answer("INFO", "-NOPERM User app has no permissions to run the 'info' command\r\n");
    let refused = judged(proxy.url(), |_| {}).await.unwrap_err();
    assert!(refused.contains("set appendonly yes"), "{refused}");
    proxy.answer("CONFIG", "-ERR unknown command 'CONFIG', with args beginning with: 'GET' \r\n");
    let warned = judged(proxy.url(), |_| {}).await.unwrap();
    assert_eq!(warned.len(), 3, "{warned:?}");
}

#[tokio::test]
async fn an_old_server_is_refused_and_valkey_is_not() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port()).await;
    let rest = "aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
    let say = |version: &str| {
        let text = format!("{version}\r\n{rest}");
        proxy.answer("INFO", &format!("${}\r\n{text}\r\n", text.len()));
    };
    say("redis_version:6.2.14");
    let refused = judged(proxy.url(), |options| options.allow_unsafe = true).await.unwrap_err();
    assert!(refused.contains("6.2"), "{refused}");
    say("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1");
    assert_eq!(judged(proxy.url(), |options| options.fsync = true).await, Ok(vec![]));
}

#[tokio::test]
async fn fsync_on_a_server_without_waitaof_takes_appendfsync_always() {
    let fsync = |options: &mut LinkOptions| options.fsync = true;
    let lazy = Server::start(&[("appendfsync", "everysec")]).await;
    let refused = judged(lazy.url(), fsync).await.unwrap_err();
    assert!(refused.contains("everysec") && refused.contains("appendfsync always"), "{refused}");
    let eager = Server::start(&[("appendfsync", "always")]).await;
    assert_eq!(judged(eager.url(), fsync).await, Ok(vec![]));
    let silent = Proxy::start(eager.port()).await;
    silent.answer("CONFIG", "-NOPERM User app has no permissions to run the 'config|get' command\r\n");
    let refused = judged(silent.url(), fsync).await.unwrap_err();
    assert!(refused.contains("not told"), "{refused}");
}

#[tokio::test]
async fn replicas_that_are_missing_are_warned_of() {
    let server = Server::start(&[]).await;
    let warned = judged(server.url(), |options| options.min_replicas = 1).await.unwrap();
    assert!(warned.len() == 1 && warned[0].contains("queue.min_replicas"), "{warned:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_at_start_is_unreachable() {
    let mut options = options("redis://127.0.0.1:1/");
    options.patience = Duration::from_millis(200);
    let error = Link::new(options).unwrap().check().await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)), "{error}");
}

#[test]
fn options_that_contradict_each_other_are_refused_without_showing_the_password() {
    let master = String::new();
    for (url, mode) in [
        ("redis://:swordfish@one,two", Mode::Single),
        ("redis://:swordfish@one/3", Mode::Cluster),
        ("redis://:swordfish@one", Mode::Sentinel { master }),
        ("redis://:sword/fish@one", Mode::Single),
    ] {
        let mut options = options(url);
        options.mode = mode;
        let error = Link::new(options).unwrap_err();
        assert!(matches!(error, LinkError::Options(_)), "{error}");
        assert!(!error.to_string().contains("fish"), "{error}");
    }
    let mut options = options("redis://one");
    options.tls_ca_file = Some("ca.pem".into());
    assert!(Link::new(options).unwrap_err().to_string().contains("rediss://"));
}
