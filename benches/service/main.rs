//! What the service costs: accepted requests, pick-up, calls of the provider, jobs in flight, idling, telling about itself.
//! One JSON line each.
//!
//! `cargo bench --bench service` runs all; `-- submit pickup provider flight idle overhead` chooses. Needs `wrk` and
//! `strace`. Figures are ratios within one run or CPU time, since absolute times depend on the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the machine and ends with its tasks")]

mod null_store;
mod overhead;
mod pickup;
mod provider;
mod server;
mod stack;
mod submit;
mod usage;

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use server::{Server, client};

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if asked.first().is_some_and(|first| first == submit::BASELINE) {
        return runtime.block_on(submit::serve_baseline());
    }
    if asked.first().is_some_and(|first| first == overhead::SERVE) {
        return overhead::serve(&runtime, &asked[1..]);
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    runtime.block_on(async {
        if wanted("submit") {
            submit::run().await;
        }
        if wanted("pickup") {
            pickup::run().await;
        }
        if wanted("provider") {
            stack::run().await;
        }
        if wanted("flight") {
            flight().await;
        }
        if wanted("idle") {
            idle().await;
        }
        if wanted("overhead") {
            overhead::run().await;
        }
    });
}

/// 5,000 jobs waiting on a slow provider in one process: resident memory.
async fn flight() {
    const JOBS: u64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let provider = provider::start(Duration::from_mins(5)).await;
    let environment = [
        ("OPENAI_BASE_URL", provider.as_str()),
        ("RAGQ_WORKER__CHAT_SLOTS", "5000"),
        ("RAGQ_MODEL__FIRST_TOKEN_TIMEOUT_MS", "240000"),
    ];
    let server = Server::up(&folder.path().join("data"), &environment).await;
    let http = client();
    server.one_document(&http).await;
    let before = usage::resident(server.pid);
    let submits = futures::stream::iter(0..JOBS)
        .map(|_| server.post(&http, "/chat", json!({ "query": "When is the quarterly report due?" })));
    let _: Vec<_> = submits.buffer_unordered(32).collect().await;
    let mut peak = 0;
    for _ in 0..600 {
        peak = peak.max(usage::resident(server.pid));
        if server.get(&http, "/admin/queue").await["running"] == JOBS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let running = server.get(&http, "/admin/queue").await["running"].clone();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let settled = usage::resident(server.pid);
    println!(
        "{}",
        json!({
            "bench": "flight", "running": running, "resident_before_mb": before / 1_000_000,
            "resident_mb": settled / 1_000_000, "peak_mb": peak.max(settled) / 1_000_000,
            "kb_per_job": settled.saturating_sub(before) / 1_000 / JOBS,
        })
    );
}

/// Nothing to do: share of a core, resident memory, size of the binary.
async fn idle() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::up(&folder.path().join("data"), &[]).await;
    server.one_document(&client()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = usage::cpu(server.pid);
    let span = Duration::from_secs(30);
    tokio::time::sleep(span).await;
    let used = usage::cpu(server.pid).saturating_sub(before);
    println!(
        "{}",
        json!({
            "bench": "idle", "percent_of_a_core": 100.0 * used.as_secs_f64() / span.as_secs_f64(),
            "resident_mb": usage::resident(server.pid) / 1_000_000,
            "binary_mb": std::fs::metadata(server::RAGQ).unwrap().len() / 1_000_000,
        })
    );
}
