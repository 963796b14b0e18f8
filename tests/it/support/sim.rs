//! `ragq provider-sim` as a child process, and its drill routes.

use std::process::Stdio;

use http::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use super::process::{ragq, signal};

/// A running `ragq provider-sim`.
pub struct Sim {
    /// What belongs into `OPENAI_BASE_URL`.
    pub base_url: String,
    /// An HTTP client.
    pub http: reqwest::Client,
    /// The process.
    pub child: Child,
}

impl Sim {
    /// Starts it with these arguments, on a port of the system's choice.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut command = ragq();
        command.args(["provider-sim", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = lines.next_line().await.expect("stdout can be read").expect("a line before it ends");
        let base_url = line.split_whitespace().last().expect("a URL").to_owned();
        assert!(line.starts_with("ragq provider-sim") && base_url.starts_with("http://127.0.0.1:"), "{line}");
        let http = reqwest::Client::builder().timeout(std::time::Duration::from_mins(1)).build().expect("a client");
        Self { base_url, http, child }
    }

    fn route(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.trim_end_matches("/v1"))
    }

    /// What it counted.
    pub async fn stats(&self) -> Value {
        let answer = self.http.get(self.route("/sim/stats")).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// What it counted; it begins to count anew.
    pub async fn take_stats(&self) -> Value {
        let answer = self.http.delete(self.route("/sim/stats")).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Sends a change of its plan.
    pub async fn change(&self, plan: Value) -> (StatusCode, Value) {
        let answer = self.http.put(self.route("/sim/plan")).json(&plan).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Changes its plan.
    pub async fn plan(&self, plan: Value) {
        let (status, answer) = self.change(plan).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(self.child.id().expect("it is running"), name);
    }
}
