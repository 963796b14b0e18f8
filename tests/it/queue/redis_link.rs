//! The link to Redis against real servers that fail in real ways.

use crate::support::redis::Server;

#[tokio::test]
async fn what_a_killed_server_had_synced_is_there_after_its_restart() {
    let mut server = Server::start(&[("appendfsync", "always")]).await;
    let mut client = server.client().await;
    let () = redis::cmd("SET").arg("key").arg("value").query_async(&mut client).await.unwrap();
    server.kill9().await;
    server.restart().await;
    let mut client = server.client().await;
    let found: String = redis::cmd("GET").arg("key").query_async(&mut client).await.unwrap();
    assert_eq!(found, "value");
}
