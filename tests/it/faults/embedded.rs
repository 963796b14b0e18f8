//! The process killed at any moment under load: nothing accepted is lost, nothing is done twice.
//!
//! Three kills in the ordinary run, fifty in the drill.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::RngExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{report, size};
use crate::support::{
    process::Up,
    provider::{Reply, ScriptedProvider},
};

/// Jobs submitted in one round at the most: keeps the ordinary run small.
const JOBS_A_ROUND: usize = 150;
const DOCUMENTS: usize = 6;
/// Sections of a document: each becomes a chunk of its own and names its version.
const SECTIONS: usize = 12;

/// What the clients were told, which the store must stand by.
#[derive(Default)]
struct Told {
    /// Jobs whose 202 arrived.
    accepted: Vec<String>,
    /// What a completed job looked like when it was first seen so.
    completed: HashMap<String, Value>,
    /// Per document, the newest version whose 202 arrived.
    documents: HashMap<usize, usize>,
    /// Submits of documents so far, the unanswered ones included.
    submitted: HashMap<usize, usize>,
}

type Shared = Arc<Mutex<Told>>;

fn http() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap()
}

fn text(document: usize, version: usize) -> String {
    let filler = "The tide table of the harbour lists high water and low water for every day. ".repeat(12);
    let section = |n| format!("# Section {n}\n\nDocument {document} in version v{version}x. {filler}\n\n");
    (0..SECTIONS).map(section).collect::<Vec<_>>().concat()
}

/// Submits questions until the process is gone or the round has enough.
async fn ask(http: reqwest::Client, url: String, told: Shared, left: Arc<AtomicUsize>) {
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        let body = json!({ "query": "What does the tide table of the harbour list?" });
        let Ok(response) = http.post(format!("{url}/chat")).json(&body).send().await else { return };
        let status = response.status();
        let Ok(answer) = response.json::<Value>().await else { return };
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        told.lock().unwrap().accepted.push(answer["job_id"].as_str().unwrap().to_owned());
    }
}

/// Submits version after version of each document until the process is gone.
async fn write(http: reqwest::Client, url: String, told: Shared) {
    for turn in 0..DOCUMENTS * 4 {
        let document = turn % DOCUMENTS;
        let version = {
            let mut told = told.lock().unwrap();
            let version = told.submitted.entry(document).or_default();
            *version += 1;
            *version
        };
        let body = json!({ "document_id": format!("d{document}"), "title": "Tides", "text": text(document, version) });
        let Ok(response) = http.post(format!("{url}/documents")).json(&body).send().await else { return };
        let Ok(answer) = response.json::<Value>().await else { return };
        let mut told = told.lock().unwrap();
        told.accepted.push(answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
        told.documents.insert(document, version);
    }
}

/// Looks at jobs again and again and notes the first completed state of each.
async fn look(http: reqwest::Client, url: String, told: Shared) {
    // Always asks something first: a round may be over before anything was accepted.
    while http.get(format!("{url}/health/live")).send().await.is_ok() {
        let jobs: Vec<String> = {
            let told = told.lock().unwrap();
            told.accepted.iter().filter(|job| !told.completed.contains_key(*job)).take(20).cloned().collect()
        };
        for job in jobs {
            let Ok(view) = view(&http, &url, &job).await else { return };
            if view["status"] == "completed" {
                told.lock().unwrap().completed.insert(job, view);
            }
        }
        if whole_documents(&http, &url, &told).await.is_err() {
            return;
        }
    }
}

async fn view(http: &reqwest::Client, url: &str, job: &str) -> reqwest::Result<Value> {
    http.get(format!("{url}/job-status?job_id={job}")).send().await?.json().await
}

/// Every document that is there consists of chunks of one version; the versions.
async fn whole_documents(http: &reqwest::Client, url: &str, told: &Shared) -> reqwest::Result<HashMap<usize, usize>> {
    let mut versions = HashMap::new();
    let known: Vec<usize> = told.lock().unwrap().documents.keys().copied().collect();
    for document in known {
        let response = http.get(format!("{url}/documents/d{document}/text")).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            continue;
        }
        let text = response.text().await?;
        let found: Vec<&str> =
            text.split_whitespace().filter(|word| word.starts_with('v') && word.ends_with("x.")).collect();
        assert_eq!(found.len(), SECTIONS, "a document is half there: {found:?}");
        assert!(found.iter().all(|version| *version == found[0]), "a document is a mixture: {found:?}");
        versions.insert(document, found[0].trim_matches(['v', 'x', '.']).parse().unwrap());
    }
    Ok(versions)
}

/// One life of the process: load, then a kill at a random moment.
async fn round(data: &Path, environment: &[(&str, &str)], told: &Shared) {
    let up = Up::start(data, environment).await;
    let left = Arc::new(AtomicUsize::new(JOBS_A_ROUND));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(ask(http(), up.url.clone(), told.clone(), left.clone()));
    }
    clients.spawn(write(http(), up.url.clone(), told.clone()));
    clients.spawn(look(http(), up.url.clone(), told.clone()));
    let moment = Duration::from_millis(rand::rng().random_range(30..900));
    tokio::time::sleep(moment).await;
    up.kill().await;
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client met a broken promise");
    }
}

/// Everything that was accepted is completed, once, and as it was first seen.
async fn settle(up: &Up, told: &Shared) {
    let http = http();
    let (accepted, completed) = {
        let told = told.lock().unwrap();
        (told.accepted.clone(), told.completed.clone())
    };
    for job in &accepted {
        let mut last = Value::Null;
        for _ in 0..120 {
            last = http
                .get(format!("{}/job-status?job_id={job}&wait_ms=1000", up.url))
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            if ["completed", "dead", "cancelled"].contains(&last["status"].as_str().unwrap_or("lost")) {
                break;
            }
        }
        let view = last;
        assert_eq!(view["status"], "completed", "{view}");
        if let Some(first) = completed.get(job) {
            assert_eq!(&view, first, "a completed job changed");
        }
        let log = http.get(format!("{}/jobs/{job}/events", up.url)).send().await.unwrap().text().await.unwrap();
        let events = crate::support::app::events(&log);
        let completions = events.iter().filter(|(name, _)| name == "completed").count();
        assert_eq!(completions, 1, "{job} completed {completions} times");
        let sequence = events.iter().map(|(_, data)| data["seq"].as_u64().unwrap());
        assert!(sequence.eq(0..events.len() as u64), "the log of {job} has gaps");
    }
    let versions = whole_documents(&http, &up.url, told).await.unwrap();
    let told = told.lock().unwrap();
    for (document, accepted) in &told.documents {
        let seen = versions.get(document).unwrap_or_else(|| panic!("document {document} is gone"));
        let range = *accepted..=told.submitted[document];
        assert!(range.contains(seen), "document {document} is seen in version {seen}, accepted {range:?}");
    }
}

#[tokio::test]
async fn whenever_the_process_is_killed_every_accepted_job_ends_once_and_no_document_is_half_replaced() {
    let rounds = size(3, 50);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let reply = Reply::text("High water and low water [1].").pieces(6).drip(Duration::from_millis(4));
    let provider = ScriptedProvider::start(vec![Reply::default_forever(reply)]).await;
    let url = provider.base_url();
    // A job that happens to run at many kills is not poison here.
    let environment =
        [("OPENAI_BASE_URL", url.as_str()), ("RAGQ_QUEUE__MAX_LOST_LEASES", "100"), ("RUST_LOG", "error")];
    let told = Shared::default();
    for _ in 0..rounds {
        round(&data, &environment, &told).await;
    }
    let up = Up::start(&data, &environment).await;
    settle(&up, &told).await;
    let (accepted, seen) = {
        let told = told.lock().unwrap();
        (told.accepted.len(), told.completed.len())
    };
    report(
        "embedded, kill -9",
        &format!("kills {rounds}, accepted {accepted}, seen completed before {seen}, lost 0, twice 0, mixtures 0"),
    );
    assert!(accepted > 0, "the load never got through");
    assert!(up.stop().await.success());
}
