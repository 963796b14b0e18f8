//! CPU of an accepted request, against the same route with a store that forgets; syncs per submit.

use std::{process::Stdio, sync::Arc};

use ragq::{
    api,
    config::Settings,
    domain::clock::SystemClock,
    index::{PassageIndex, embedded::EmbeddedIndex},
    telemetry::metrics::{Metrics, Scope, Sets},
};
use serde_json::json;
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;

use super::{
    null_store::NullStore,
    server::{Server, client},
    usage,
};

/// The argument that makes this program the baseline's server.
pub const BASELINE: &str = "serve-baseline";

const SCRIPT: &str = r#"
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"query":"How long is the result of a finished job kept before it is removed from the store?"}'
"#;

/// The API before a store that accepts and forgets, on a free port, until killed.
pub async fn serve_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let index: Arc<dyn PassageIndex> = Arc::new(EmbeddedIndex::open(&folder.path().join("index.db")).unwrap());
    let settings = Settings::default();
    let router = api::router(api::ApiState::new(api::ApiParts {
        store: Arc::new(NullStore::default()),
        index,
        clock: Arc::new(SystemClock),
        api: settings.api,
        queue: settings.queue,
        ingest: settings.ingest,
        keys: api::ApiKeys::default(),
        admin_tokens: api::AdminTokens::default(),
        leaving: CancellationToken::new(),
        drain: CancellationToken::new(),
        deeds: api::Deeds::default(),
        health: Arc::new(api::NothingWatched),
        setup: api::Setup::default(),
        metrics: Metrics::new(Scope::Deployment, Sets { routes: api::route_templates(), ..Sets::default() }).unwrap(),
        sampling: ragq::telemetry::traces::Sampling::default(),
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("baseline at http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// CPU microseconds per accepted request under 64 connections, and how many there were.
async fn load(server: &Server, seconds: u32) -> (f64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("post.lua");
    std::fs::write(&script, SCRIPT).unwrap();
    let before = usage::cpu(server.pid);
    let output = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("{}/chat", server.url))
        .output()
        .await
        .expect("wrk is installed (Debian: apt-get install wrk)");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!printed.contains("Non-2xx"), "{printed}");
    let requests: u64 = printed
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ").map(|(count, _)| count.parse().unwrap()))
        .expect("a count");
    (usage::cpu(server.pid).saturating_sub(before).as_secs_f64() * 1e6 / requests as f64, requests)
}

/// Both in turns, three rounds; then syncs per submit under strace.
pub async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let http = client();
    let server = Server::up(&folder.path().join("data"), &[("RAGQ_QUEUE__MAX_JOBS", "10000000")]).await;
    server.post(&http, "/admin/queue/pause", json!({})).await;
    let mut baseline = Command::new(std::env::current_exe().unwrap());
    baseline.arg(BASELINE);
    let baseline = Server::spawn(baseline).await;
    load(&server, 2).await;
    load(&baseline, 2).await;
    for round in 1..=3 {
        let (bare, bare_requests) = load(&baseline, 5).await;
        let (real, real_requests) = load(&server, 5).await;
        println!(
            "{}",
            json!({
                "bench": "submit", "round": round, "connections": 64, "cpu_us": real, "baseline_cpu_us": bare,
                "ratio": real / bare, "requests": real_requests, "baseline_requests": bare_requests,
            })
        );
    }
    syncs(&server, &http).await;
}

/// How many times the disk is synced for how many submits.
async fn syncs(server: &Server, http: &reqwest::Client) {
    let count = |queue: serde_json::Value| queue["counts"]["queued"].as_u64().unwrap();
    let before = count(server.get(http, "/admin/queue").await);
    let tracer = Command::new("strace")
        .args(["-f", "-c", "-e", "trace=fdatasync,fsync", "-p", &server.pid.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is installed (Debian: apt-get install strace)");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    load(server, 3).await;
    let submits = count(server.get(http, "/admin/queue").await) - before;
    let tracer_id = tracer.id().unwrap().to_string();
    Command::new("kill").args(["-s", "INT", &tracer_id]).status().await.unwrap();
    let summary = tracer.wait_with_output().await.unwrap();
    let summary = String::from_utf8_lossy(&summary.stderr).into_owned();
    let syncs: u64 = summary
        .lines()
        .filter(|line| line.ends_with("fdatasync") || line.ends_with("fsync"))
        .map(|line| line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap())
        .sum();
    println!(
        "{}",
        json!({
            "bench": "syncs", "submits": submits, "syncs": syncs, "submits_per_sync": submits as f64 / syncs as f64,
        })
    );
}
