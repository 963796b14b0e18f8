//! Roles that start while Redis is not as it has to be: they end at once, and say what to do.

use std::process::Stdio;

use crate::support::{
    process::ragq,
    redis::{Server, free_port},
};

/// Starts a role that can't run; its exit code and what it said.
async fn refused(role: &str, redis: &str) -> (i32, String) {
    let mut command = ragq();
    command.arg(role).env("REDIS_URL", redis).env("QDRANT_URL", "http://127.0.0.1:6334");
    command.env("RAGQ_API__LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    let output = command.output().await.unwrap();
    assert!(output.stdout.is_empty(), "it said that it was ready: {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn without_redis_no_role_starts_and_each_says_so() {
    let nobody = format!("redis://:swordfish@127.0.0.1:{}/", free_port());
    let (api, worker) = tokio::join!(refused("api", &nobody), refused("worker", &nobody));
    for (code, said) in [api, worker] {
        assert_eq!(code, 69, "{said}");
        assert!(said.contains("ragq: Redis can't be reached"), "{said}");
        assert!(!said.contains("swordfish"), "{said}");
    }
}

#[tokio::test]
async fn on_a_server_that_may_lose_jobs_no_role_starts_and_each_says_what_to_set() {
    let server = Server::start(&[("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")]).await;
    for role in ["api", "worker"] {
        let (code, said) = refused(role, &server.url()).await;
        assert_eq!(code, 64, "{said}");
        for what in ["appendonly yes", "maxmemory-policy noeviction", "RAGQ_QUEUE__ALLOW_UNSAFE=true"] {
            assert!(said.contains(what), "{what}: {said}");
        }
    }
}
