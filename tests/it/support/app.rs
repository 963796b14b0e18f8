//! A whole ragq in the test's own process: real stores in a temporary folder, real HTTP on a free port.

use std::{path::PathBuf, time::Duration};

use ragq::{
    app::{App, AppError, Role},
    config::{Secret, Settings},
    lifecycle::Process,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::process::RAGQ;

/// The admin token of every test app.
pub const ADMIN_TOKEN: &str = "the-operators-token-of-the-tests";

/// How long a job may take before a test gives up on it.
const PATIENCE_MS: u64 = 60_000;

/// A running app.
pub struct TestApp {
    /// Where its API is.
    pub url: String,
    /// An HTTP client without any key.
    pub http: reqwest::Client,
    /// Its data folder.
    pub data: TempDir,
    process: Process,
}

impl TestApp {
    /// An app with the default settings, made quick: extractive answers, short backoff.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// The same with some settings changed.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), change).await
    }

    /// The same on a folder that may have been used before.
    pub async fn start_in(data: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.api.admin_token = Some(Secret::from(ADMIN_TOKEN));
        settings.queue.backoff_base_ms = 20;
        settings.queue.backoff_cap_ms = 100;
        settings.worker.grace_ms = Some(5_000);
        change(&mut settings);
        settings.store.data_dir = data.path().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        // A folder used before: a child that another test starts in the moment it is let go of shares the lock until
        // it is a program of its own.
        let app = super::eventually(async || {
            match App::open(settings.clone(), Role::Everything, PathBuf::from(RAGQ)).await {
                Err(AppError::InUse(_)) => None,
                opened => Some(opened.expect("an app")),
            }
        })
        .await;
        let process = Process::start(app, Some(listener)).expect("a process");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(90)).build().expect("a client");
        let address = process.address.expect("it listens");
        Self { url: format!("http://{address}"), http, data, process }
    }

    /// Sends a request; a body of `null` is none.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if path.starts_with("/admin") {
            request = request.bearer_auth(ADMIN_TOKEN);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Gets a path that must be there.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Submits a job that must be accepted; its id.
    pub async fn submit(&self, path: &str, body: Value) -> String {
        let (status, answer) = self.send(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{path}: {answer}");
        answer["job_id"].as_str().expect("a job id").to_owned()
    }

    /// The job's state once it is final.
    pub async fn wait_for(&self, job: &str) -> Value {
        for _ in 0..PATIENCE_MS / 1_000 {
            let view = self.get(&format!("/job-status?job_id={job}&wait_ms=1000")).await;
            if ["completed", "dead", "cancelled"].contains(&view["status"].as_str().expect("a status")) {
                return view;
            }
        }
        panic!("{job} is not final: {}", self.get(&format!("/job-status?job_id={job}")).await);
    }

    /// The job's state once `is` holds.
    pub async fn wait_until(&self, job: &str, is: impl Fn(&Value) -> bool) -> Value {
        super::eventually(async || {
            let view = self.get(&format!("/job-status?job_id={job}")).await;
            is(&view).then_some(view)
        })
        .await
    }

    /// Asks and waits for the job's end.
    pub async fn ask(&self, query: &str) -> Value {
        let job = self.submit("/chat", json!({ "query": query })).await;
        self.wait_for(&job).await
    }

    /// Takes in a text and waits until it can be found.
    pub async fn put(&self, id: &str, title: &str, text: &str) -> Value {
        let job = self.submit("/documents", json!({ "document_id": id, "title": title, "text": text })).await;
        let view = self.wait_for(&job).await;
        assert_eq!(view["status"], "completed", "{view}");
        view
    }

    /// The whole event log of a final job: names with data.
    pub async fn events(&self, job: &str) -> Vec<(String, Value)> {
        let response = self.http.get(format!("{}/jobs/{job}/events", self.url)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        events(&response.text().await.expect("the stream ends"))
    }

    /// Orders it to stop; [`Self::drain`] waits for the end.
    pub fn begin_drain(&self) {
        self.process.begin_drain();
    }

    /// Ends the app in order and checks that nothing was left behind; gives back the data folder.
    pub async fn finish(mut self) -> TempDir {
        let queue = self.get("/admin/queue").await;
        assert_eq!(queue["running"], 0, "a lease is left: {queue}");
        self.process.drain().await.expect("an orderly end");
        self.data
    }

    /// Ends the app in order, whatever still runs.
    pub async fn drain(mut self) -> TempDir {
        self.process.drain().await.expect("an orderly end");
        self.data
    }
}

/// Reads a stream of server-sent events that has ended: names with data, comments left out.
pub fn events(stream: &str) -> Vec<(String, Value)> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim_start().to_owned()))
    };
    stream
        .replace("\r\n", "\n")
        .split("\n\n")
        .filter_map(|block| {
            let data = field(block, "data:")?;
            Some((field(block, "event:")?, serde_json::from_str(&data).expect("data is JSON")))
        })
        .collect()
}
