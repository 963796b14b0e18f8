//! An API with two tenants and something of everything in it, and how a draft becomes a request to it.

use std::{fmt, time::Duration};

use ragq::{
    config::settings,
    domain::{
        failure::{Code, Failure},
        ids::{JobId, Tenant},
        job::{JobError, Kind},
        spent::UsageTotal,
    },
    queue::{DeadLetterFilter, Deliveries, Fenced, Operations, Release, Submissions},
};
use reqwest::{
    Client, Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    super::harness::{ADMIN, App, PATIENCE, expect, text},
    contract::Operation,
    draft::{Access, Argument, Draft},
};

const TENANT: &str = "fuzz";
const KEY: &str = "fuzz-0123456789abcdef";
const OTHER_KEY: &str = "other-0123456789abcdef";
/// A body over this is refused whatever it says.
pub const MAX_BODY: usize = 256 * 1024;
/// How many jobs are remembered.
const JOBS: usize = 40;

pub struct World {
    pub app: App,
    /// Sends nothing of its own accord.
    client: Client,
    jobs: Vec<String>,
    letters: Vec<String>,
    documents: Vec<String>,
    cursors: Vec<String>,
}

fn caller(key: Option<&str>) -> Client {
    let header = |key: &str| (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {key}")).unwrap());
    Client::builder().timeout(PATIENCE).default_headers(key.map(header).into_iter().collect()).build().unwrap()
}

impl World {
    pub async fn start() -> Self {
        let mut app = App::with(|options| {
            options.api = settings::Api {
                keys: format!("{TENANT}:{KEY},other:{OTHER_KEY}").into(),
                max_body_bytes: MAX_BODY as u64,
                max_query_chars: 300,
                max_wait_ms: 5,
                ..settings::Api::default()
            };
        })
        .await;
        app.client = caller(Some(KEY));
        let mut world = Self {
            app,
            client: caller(None),
            jobs: Vec::new(),
            letters: Vec::new(),
            documents: Vec::new(),
            cursors: Vec::new(),
        };
        world.make_jobs().await;
        world.make_documents().await;
        world.make_cursors().await;
        world
    }

    async fn get(&self, path: &str) -> Value {
        expect(self.app.get(path).send().await.unwrap(), 200).await
    }

    /// A job in every state.
    async fn make_jobs(&mut self) {
        let app = &self.app;
        let completed = app.ask("completed").await;
        let delivery = app.fetch(Kind::Chat).await;
        app.delta(&delivery, "an ans").await;
        app.complete(&delivery, "an answer").await;
        let cancelled = app.ask("cancelled").await;
        expect(app.delete(&format!("/jobs/{cancelled}")).send().await.unwrap(), 200).await;
        let dead = app.dead_letter("dead", Code::ContextTooLong).await;
        let scheduled = app.ask("scheduled").await;
        let error = JobError::from(&Failure::new(Code::ProviderTimeout, "too slow"));
        let retry = Release::Retry { after: Duration::from_hours(1), error };
        let delivery = app.fetch(Kind::Chat).await;
        assert_eq!(
            app.store.release(&delivery.lease, retry, UsageTotal::default()).await.unwrap(),
            Fenced::Applied(())
        );
        let running = app.ask("running").await;
        app.fetch(Kind::Chat).await;
        let queued = app.ask("queued").await;
        self.jobs.extend([completed, cancelled, dead, scheduled, running, queued]);
    }

    async fn submit(&self, id: &str, content: &str) {
        let document = json!({ "title": id, "text": content, "document_id": id, "collection": "made" });
        expect(self.app.post("/documents").json(&document).send().await.unwrap(), 202).await;
    }

    async fn submit_and_ingest(&mut self, id: &str, content: &str) {
        self.submit(id, content).await;
        let delivery = self.app.ingest(&Tenant::from(TENANT)).await;
        self.jobs.push(delivery.lease.job.to_string());
    }

    /// The cursor of the second page of a document's chunks.
    async fn place_in(&self, document: &str) -> String {
        text(&self.get(&format!("/documents/{document}/chunks?limit=1")).await, "next_cursor")
    }

    /// A document in every state, and places in chunks that are still there and in such as were replaced.
    async fn make_documents(&mut self) {
        for id in ["ready", "changing", "deleting"] {
            self.submit_and_ingest(id, "one\ntwo\nthree").await;
        }
        let replaced = self.place_in("ready").await;
        for id in ["ready", "changing"] {
            self.submit_and_ingest(id, "four\nfive").await;
        }
        self.cursors = vec![replaced, self.place_in("ready").await];
        self.submit("failed", "nothing").await;
        let delivery = self.app.fetch(Kind::Ingest).await;
        self.app.bury(&delivery, Code::DocumentDamaged).await;
        self.jobs.push(delivery.lease.job.to_string());
        self.submit("changing", "six\nseven").await;
        self.submit("pending", "eight").await;
        expect(self.app.delete("/documents/deleting").send().await.unwrap(), 202).await;
        self.documents = ["ready", "changing", "deleting", "failed", "pending"].map(str::to_owned).to_vec();
    }

    /// Cursors of every list, each of which may be shown to every other.
    async fn make_cursors(&mut self) {
        self.app.dead_letter("dead, too", Code::ContextTooLong).await;
        let letters = self.app.get("/admin/dlq?limit=1").bearer_auth(ADMIN).send().await.unwrap();
        let pages = [expect(letters, 200).await, self.get("/documents?limit=1").await];
        self.cursors.extend(pages.iter().map(|page| text(page, "next_cursor")));
    }

    /// Sees to it that there are dead letters, however many were replayed or discarded.
    pub async fn refill(&mut self) {
        loop {
            let page = self.app.store.dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
            self.letters = page.items.iter().map(|letter| letter.job_id.to_string()).collect();
            if self.letters.len() > 1 {
                return;
            }
            self.app.store.resume(&[Kind::Chat]).await.unwrap();
            self.app.dead_letter("dead again", Code::ContentRefused).await;
        }
    }

    /// Remembers a job that was made.
    pub fn remember(&mut self, answer: &Value) {
        if let Some(job) = answer["job_id"].as_str() {
            if self.jobs.len() == JOBS {
                self.jobs.remove(JOBS / 2);
            }
            self.jobs.push(job.to_owned());
        }
    }

    /// Whether the job is final: then its event stream ends.
    pub async fn is_final(&self, job: &str) -> bool {
        let Ok(id) = job.parse::<JobId>() else { return false };
        let view = self.app.store.job(&Tenant::from(TENANT), id).await.unwrap();
        view.is_some_and(|view| view.status.is_final())
    }

    fn existing(&self, path: &str, name: &str, number: usize) -> String {
        let made = ["made".to_owned()];
        let files = ["app.js", "base.css", "icon.svg"].map(str::to_owned);
        let things = match name {
            "cursor" => &self.cursors[..],
            "collection" => &made,
            _ if path.starts_with("/page") => &files,
            _ if path.starts_with("/documents") => &self.documents,
            _ if path.starts_with("/admin/dlq") => &self.letters,
            _ => &self.jobs,
        };
        things[number % things.len()].clone()
    }

    fn written(&self, path: &str, name: &str, argument: &Argument) -> String {
        match argument {
            Argument::Existing(number) => self.existing(path, name, *number),
            Argument::Text(text) => encoded(text),
            Argument::Raw(text) => (*text).to_owned(),
        }
    }

    /// The draft with everything in it written out.
    pub fn request(&self, operation: &Operation, draft: &Draft) -> Request {
        let path = &operation.path;
        let id = match self.written(path, "id", &draft.path) {
            // Clients take these out of a path before they send it.
            dots if matches!(dots.to_lowercase().replace("%2e", ".").as_str(), "." | "..") => "dots".to_owned(),
            id => id,
        };
        let pairs = draft
            .query
            .iter()
            .map(|(name, argument)| format!("{}={}", encoded(name), self.written(path, name, argument)));
        let query = pairs.collect::<Vec<_>>().join("&") + draft.tail;
        let query = if query.is_empty() { query } else { format!("?{query}") };
        let url = format!("{}{}{query}", self.app.url, path.replace("{id}", &id));
        let mut headers = HeaderMap::new();
        let key = match operation.lock.as_deref() {
            Some("admin_token") => ADMIN,
            _ => KEY,
        };
        let authorization = match draft.access {
            Access::Right => Some(format!("Bearer {key}").into_bytes()),
            Access::Other => Some(format!("Bearer {OTHER_KEY}").into_bytes()),
            Access::Wrong(given) => given.map(<[u8]>::to_vec),
        };
        let own = [(AUTHORIZATION, authorization), (CONTENT_TYPE, draft.media_type.clone().map(String::into_bytes))];
        let others =
            draft.headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), Some(value.clone())));
        for (name, value) in own.into_iter().chain(others) {
            // What can't be put into a header can't be sent.
            if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(&value).ok()) {
                headers.append(name, value);
            }
        }
        Request { method: draft.method.clone(), url: Url::parse(&url).unwrap(), id, headers, body: draft.body.clone() }
    }

    pub async fn send(&self, request: &Request) -> reqwest::Result<reqwest::Response> {
        let builder = self.client.request(request.method.clone(), request.url.clone());
        builder.headers(request.headers.clone()).body(request.body.clone()).send().await
    }
}

/// Text as it may stand in a path or a query string; no longer than a client would send.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    let each = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().take(5_000).map(each).collect()
}

/// A request as it is sent; shown as the command that sends it again.
pub struct Request {
    pub method: Method,
    pub url: Url,
    /// What stands for `{id}` in the path.
    pub id: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Bytes in the quotes in which a shell takes anything.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 2_000;
    let cut = if bytes.len() > SHOWN { format!(" # cut: {} bytes", bytes.len()) } else { String::new() };
    let each = |byte: &u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    format!("$'{}'{cut}", bytes.iter().take(SHOWN).map(each).collect::<String>())
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "curl --path-as-is -i -X {} $'{}'", self.method, self.url.as_str().replace('\'', "\\'"))?;
        for (name, value) in &self.headers {
            let line = [name.as_str().as_bytes(), b": ", value.as_bytes()].concat();
            write!(f, " \\\n  -H {}", quoted(&line))?;
        }
        if !self.body.is_empty() {
            write!(f, " \\\n  --data-binary {}", quoted(&self.body))?;
        }
        Ok(())
    }
}
