//! Processes under measurement: the real binary, and the baseline of the submit measurement.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// The release binary.
pub const RAGQ: &str = env!("CARGO_BIN_EXE_ragq");

/// A running server.
pub struct Server {
    /// Where it listens.
    pub url: String,
    /// Its process id.
    pub pid: u32,
    _child: Child,
}

impl Server {
    /// `ragq up` on a data folder.
    pub async fn up(data: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(RAGQ);
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(data).env("RAGQ_ADMIN_TOKEN", "bench");
        command.env("RUST_LOG", "warn").envs(environment.iter().copied());
        Self::spawn(command).await
    }

    /// Any command whose first line of output ends in its URL.
    pub async fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let first = lines.next_line().await.expect("output").expect("a line");
        let url = first.split_whitespace().last().expect("a URL").to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let pid = child.id().expect("it runs");
        Self { url, pid, _child: child }
    }

    /// Posts JSON and expects success; the answer.
    pub async fn post(&self, http: &reqwest::Client, path: &str, body: Value) -> Value {
        let request = http.post(format!("{}{path}", self.url)).bearer_auth("bench").json(&body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// Gets JSON.
    pub async fn get(&self, http: &reqwest::Client, path: &str) -> Value {
        let request = http.get(format!("{}{path}", self.url)).bearer_auth("bench");
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Takes in one small document and waits for it.
    pub async fn one_document(&self, http: &reqwest::Client) {
        let document = json!({ "title": "Notes", "text": "The quarterly report is due in March. ".repeat(100) });
        let job = self.post(http, "/documents", document).await["job_id"].as_str().expect("an id").to_owned();
        let path = format!("/job-status?job_id={job}&wait_ms=30000");
        assert_eq!(self.get(http, &path).await["status"], "completed");
    }
}

/// An HTTP client for up to some hundred connections.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_mins(2)).build().expect("a client")
}
