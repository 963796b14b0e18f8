//! A real ragq with a page in a real Chromium, in one process or in several, quoting or with the scripted provider.

use std::any::Any;

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
use crate::{
    faults::member::Member,
    support::{eventually, process::Up, provider::ScriptedProvider, qdrant, redis},
};

/// The admin token of every site.
pub const ADMIN_TOKEN: &str = "the-operators-token-of-the-page";

/// How ragq is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `ragq up`.
    Embedded,
    /// `ragq api` and `ragq worker` on Redis and Qdrant.
    Distributed,
}

/// A running ragq and a browser.
pub struct Site {
    pub url: String,
    pub browser: Browser,
    http: reqwest::Client,
    /// What runs for it, and ends with it.
    _running: Box<dyn Any>,
}

impl Site {
    /// A site that quotes its documents.
    pub async fn start() -> Self {
        Self::start_with(Shape::Embedded, None, &[]).await
    }

    /// A site whose questions go to `provider`, with a short backoff and more settings.
    pub async fn start_with(shape: Shape, provider: Option<&ScriptedProvider>, more: &[(&str, &str)]) -> Self {
        let model_url = provider.map(ScriptedProvider::base_url);
        let mut settings = vec![
            ("RAGQ_ADMIN_TOKEN", ADMIN_TOKEN),
            ("RAGQ_QUEUE__BACKOFF_BASE_MS", "20"),
            ("RAGQ_QUEUE__BACKOFF_CAP_MS", "100"),
            ("RUST_LOG", "warn"),
        ];
        settings.extend(model_url.as_ref().map(|url| ("OPENAI_BASE_URL", url.as_str())));
        settings.extend(more);
        // It comes up while ragq does.
        let browser = Browser::start();
        let (url, running) = match shape {
            Shape::Embedded => embedded(&settings).await,
            Shape::Distributed => distributed(&settings).await,
        };
        let http = reqwest::Client::builder().build().expect("a client");
        Self { url, browser, http, _running: running }
    }

    /// A site in one process whose data folder, `data` in this folder, may have been used before.
    pub async fn start_on(folder: TempDir) -> Self {
        let browser = Browser::start();
        let (url, running) = embedded_in(folder, &[("RAGQ_ADMIN_TOKEN", ADMIN_TOKEN), ("RUST_LOG", "warn")]).await;
        let http = reqwest::Client::builder().build().expect("a client");
        Self { url, browser, http, _running: running }
    }

    /// The page at this place.
    pub async fn open(&self, hash: &str) -> Tab {
        self.browser.open(&format!("{}/{hash}", self.url)).await
    }

    /// Sends a request past the page, with the admin token where that is wanted; a body of `null` is none.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
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
        let body = json!({ "document_id": id, "title": title, "text": text });
        let job = self.send(Method::POST, "/documents", body).await["job_id"].clone();
        let job = job.as_str().expect("a job id");
        let view = self.send(Method::GET, &format!("/job-status?job_id={job}&wait_ms=30000"), Value::Null).await;
        assert_eq!(view["status"], "completed", "{view}");
    }
}

async fn embedded(settings: &[(&str, &str)]) -> (String, Box<dyn Any>) {
    embedded_in(tempfile::tempdir().expect("a temporary folder"), settings).await
}

async fn embedded_in(folder: TempDir, settings: &[(&str, &str)]) -> (String, Box<dyn Any>) {
    let up = Up::start(&folder.path().join("data"), settings).await;
    (up.url.clone(), Box::new((up, folder)))
}

async fn distributed(settings: &[(&str, &str)]) -> (String, Box<dyn Any>) {
    let (redis, qdrant) = (redis::Server::start(&[]).await, qdrant::Server::start());
    let stores = [("REDIS_URL", redis.url()), ("QDRANT_URL", qdrant.url())];
    let own = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let environment: Vec<_> = stores.into_iter().map(|(name, url)| (name.to_owned(), url)).chain(own).collect();
    let api = Member::start("api", "api", &environment).await;
    let worker = Member::start("worker", "worker", &environment).await;
    (api.url.clone(), Box::new((api, worker, redis, qdrant)))
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
