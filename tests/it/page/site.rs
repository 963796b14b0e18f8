//! A real ragq with a page in a real Chromium, embedded or on Redis, quoting or with the scripted provider.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::browser::{Browser, Tab};
use crate::support::{eventually, process::Up, provider::ScriptedProvider, redis::Server};

/// The admin token of every site.
pub const ADMIN_TOKEN: &str = "the-operators-token-of-the-page";

/// Where jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Embedded,
    Redis,
}

/// A running ragq and a browser.
pub struct Site {
    pub up: Up,
    pub browser: Browser,
    http: reqwest::Client,
    _redis: Option<Server>,
    _folder: TempDir,
}

impl Site {
    /// A site that quotes its documents.
    pub async fn start() -> Self {
        Self::start_with(Queue::Embedded, None, &[]).await
    }

    /// A site whose questions go to `provider`, with a short backoff and more settings.
    pub async fn start_with(queue: Queue, provider: Option<&ScriptedProvider>, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let redis = match queue {
            Queue::Redis => Some(Server::start(&[]).await),
            Queue::Embedded => None,
        };
        let (redis_url, model_url) = (redis.as_ref().map(Server::url), provider.map(ScriptedProvider::base_url));
        let mut settings = vec![
            ("RAGQ_ADMIN_TOKEN", ADMIN_TOKEN),
            ("RAGQ_QUEUE__BACKOFF_BASE_MS", "20"),
            ("RAGQ_QUEUE__BACKOFF_CAP_MS", "100"),
            ("RUST_LOG", "warn"),
        ];
        settings.extend(redis_url.as_ref().map(|url| ("REDIS_URL", url.as_str())));
        settings.extend(model_url.as_ref().map(|url| ("OPENAI_BASE_URL", url.as_str())));
        settings.extend(more);
        let data = folder.path().join("data");
        // It comes up while ragq does.
        let browser = Browser::start();
        let up = Up::start(&data, &settings).await;
        let http = reqwest::Client::builder().build().expect("a client");
        Self { up, browser, http, _redis: redis, _folder: folder }
    }

    /// The page at this place.
    pub async fn open(&self, hash: &str) -> Tab {
        self.browser.open(&format!("{}/{hash}", self.up.url)).await
    }

    /// Sends a request past the page, with the admin token where that is wanted; a body of `null` is none.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.up.url));
        if path.starts_with("/admin") {
            request = request.bearer_auth(ADMIN_TOKEN);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let (status, text) = (response.status(), response.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// Asks past the page and waits until the job is `state`; its id.
    pub async fn ask(&self, query: &str, state: &str) -> String {
        let job = self.send(Method::POST, "/chat", json!({ "query": query })).await["job_id"].clone();
        let job = job.as_str().expect("a job id").to_owned();
        eventually(async || {
            let view = self.send(Method::GET, &format!("/job-status?job_id={job}"), Value::Null).await;
            (view["status"] == state).then_some(())
        })
        .await;
        job
    }

    /// Takes in a text and waits until it can be found.
    pub async fn put(&self, id: &str, title: &str, text: &str) {
        self.send(Method::POST, "/documents", json!({ "document_id": id, "title": title, "text": text })).await;
        eventually(async || {
            let record = self.send(Method::GET, &format!("/documents/{id}"), Value::Null).await;
            (record["state"] == "ready").then_some(())
        })
        .await;
    }
}

/// The network between the browser and ragq, which can be cut.
pub struct Line {
    pub url: String,
    whole: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Line {
    /// A line to the ragq at this address.
    pub async fn to(url: &str) -> Self {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (whole, state) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut state, server) = (state.clone(), server.clone());
                connections.spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { url, whole, _tasks: tasks }
    }

    /// Ends all connections and lets none through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}
