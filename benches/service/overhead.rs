//! What metrics, logs and traces cost a whole question, from its request to its stored answer: CPU time of a process
//! that does all of it as shipped, against one that does none. Both take their turns in one run.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use futures::StreamExt as _;
use ragq::{
    app::{App, Role},
    config::{Settings, settings::LogFormat},
    lifecycle::Process,
    telemetry,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use super::{
    server::{RAGQ, Server, client},
    usage,
};

/// The argument that makes this program a server.
pub const SERVE: &str = "serve-watched";

/// What is switched on in each of the servers, the first being what the others are compared with.
const VARIANTS: [&str; 5] = ["", "metrics,logs,traces", "metrics", "logs", "traces"];
const ROUNDS: usize = 9;
const QUESTIONS: usize = 1_000;
const AT_A_TIME: usize = 32;

/// `ragq up` but for its words, with parts of what it tells about itself switched off, until killed. What is on is as
/// shipped, logs as JSON.
pub fn serve(runtime: &tokio::runtime::Runtime, arguments: &[String]) {
    let [on, data, provider, collector] = arguments else { panic!("{SERVE} ON DATA PROVIDER COLLECTOR") };
    let on = |part: &str| on.split(',').any(|on| on == part);
    let mut settings = Settings::default();
    settings.store.data_dir = data.into();
    settings.model.base_url = Some(provider.clone());
    settings.api.admin_token = Some("bench".into());
    settings.log.format = LogFormat::Json;
    if !on("logs") {
        settings.log.filter = String::from("off");
    }
    settings.trace.otlp_endpoint = on("traces").then(|| collector.clone());
    let export = telemetry::start(&settings, "bench").unwrap();
    runtime.block_on(async {
        let app = if on("metrics") {
            App::open(settings, Role::Everything, RAGQ.into()).await.unwrap()
        } else {
            App::open_uncounted(settings, Role::Everything, RAGQ.into()).await.unwrap()
        };
        let mut process = Process::start(app, Some(TcpListener::bind("127.0.0.1:0").await.unwrap())).unwrap();
        println!("at http://{}", process.address.unwrap());
        process.ended().await.unwrap();
    });
    drop(export);
}

/// A collector that counts the bytes it is sent.
async fn collector() -> (String, Arc<AtomicU64>) {
    let bytes = Arc::new(AtomicU64::new(0));
    let take = async |State(bytes): State<Arc<AtomicU64>>, body: Bytes| {
        bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(bytes.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (endpoint, bytes)
}

async fn server(on: &str, folder: &Path, provider: &str, collector: &str) -> Server {
    let data = folder.join(format!("data-{on}"));
    let log = std::fs::File::create(folder.join(format!("log-{on}"))).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([SERVE, on]).arg(data).args([provider, collector]).stderr(log);
    Server::spawn(command).await
}

async fn ask(server: &Server, http: &reqwest::Client) {
    let accepted = server.post(http, "/chat", json!({ "query": "When is the quarterly report due?" })).await;
    let path = format!("/job-status?job_id={}&wait_ms=30000", accepted["job_id"].as_str().unwrap());
    assert_eq!(server.get(http, &path).await["status"], "completed");
}

/// CPU microseconds a question.
async fn round(server: &Server, http: &reqwest::Client, questions: usize) -> f64 {
    let before = usage::cpu(server.pid);
    futures::stream::iter(0..questions).map(|_| ask(server, http)).buffer_unordered(AT_A_TIME).count().await;
    usage::cpu(server.pid).saturating_sub(before).as_secs_f64() * 1e6 / questions as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All variants in turns; each round's figures are compared with that round's own.
pub async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, received) = collector().await;
    let mut simulator = Command::new(RAGQ);
    simulator.args(["provider-sim", "--listen", "127.0.0.1:0", "--first-token-ms", "0", "--token-ms", "0"]);
    let provider = Server::spawn(simulator).await;
    let http = client();
    let mut servers = Vec::new();
    for on in VARIANTS {
        let server = server(on, folder.path(), &provider.url, &collector).await;
        server.one_document(&http).await;
        round(&server, &http, QUESTIONS / 4).await;
        servers.push(server);
    }
    let mut figures = vec![Vec::new(); VARIANTS.len()];
    for _ in 0..ROUNDS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            figures.push(round(server, &http, QUESTIONS).await);
        }
    }
    // What waits is sent within seconds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let off = figures[0].clone();
    let parts = VARIANTS.iter().zip(&figures).skip(1).map(|(on, figures)| {
        let ratios: Vec<f64> = figures.iter().zip(&off).map(|(on, off)| on / off).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        json!({
            "on": on, "cpu_us": median(figures.iter().copied()), "ratio": median(ratios.iter().copied()),
            "ratio_lowest": lowest, "ratio_highest": highest,
        })
    });
    let parts: Vec<Value> = parts.collect();
    println!(
        "{}",
        json!({
            "bench": "overhead", "questions": QUESTIONS, "rounds": ROUNDS, "off_cpu_us": median(off.iter().copied()),
            "parts": parts, "traced_bytes": received.load(Ordering::Relaxed),
        })
    );
}
