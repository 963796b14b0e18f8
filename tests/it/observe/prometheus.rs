//! A real Prometheus that scrapes what it is told to, every second, with the rules of the repository.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{eventually, redis::free_port};

/// A running Prometheus.
pub struct Prometheus {
    url: String,
    http: reqwest::Client,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these jobs: name and addresses.
    pub async fn start(jobs: &[(&str, Vec<String>)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus/rules/*.yml");
        let mut config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{}]\nscrape_configs:\n",
            rules.display()
        );
        for (name, addresses) in jobs {
            let targets: Vec<&str> = addresses.iter().map(|url| url.trim_start_matches("http://")).collect();
            config += &format!("  - {{ job_name: {name}, static_configs: [{{ targets: {targets:?} }}] }}\n");
        }
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("it can be written");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
        for _ in 0..10 {
            let port = free_port();
            let mut child = Command::new("prometheus")
                .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--log.level=error"])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("prometheus is missing: apt-get install prometheus (tests/run does)");
            let url = format!("http://127.0.0.1:{port}");
            let ready = eventually(async || {
                if child.try_wait().expect("it can be asked").is_some() {
                    return Some(false);
                }
                let answer = http.get(format!("{url}/-/ready")).send().await.ok()?;
                answer.status().is_success().then_some(true)
            })
            .await;
            if ready {
                return Self { url, http, _child: child, _folder: folder };
            }
        }
        panic!("prometheus found no free port");
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).query(query).send().await.expect("an answer");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["status"], "success", "{path} {query:?}: {body}");
        body["data"].clone()
    }

    /// What an expression gives now, series by series.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.get("/api/v1/query", &[("query", expression)]).await;
        data["result"].as_array().expect("series").clone()
    }

    /// What an expression gave over the last so many seconds.
    pub async fn range(&self, expression: &str, seconds: u64) -> Vec<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let (start, end) = ((now - seconds).to_string(), now.to_string());
        let query = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        self.get("/api/v1/query_range", &query).await["result"].as_array().expect("series").clone()
    }

    /// All rules with their health.
    pub async fn rules(&self) -> Vec<Value> {
        let groups = self.get("/api/v1/rules", &[]).await["groups"].as_array().expect("groups").clone();
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }
}
