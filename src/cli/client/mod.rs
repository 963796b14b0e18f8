//! A typed client of ragq's HTTP API, for the commands that talk to a running one.
//!
//! One call is one request: nothing in here retries, except that [`follow`] goes on reading an event
//! stream where it broke off, and that [`patience`] waits when the API asks for it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub mod follow;
pub mod patience;
pub mod wire;

mod connection;
mod error;

pub use connection::Connection;
pub use error::{ClientError, FieldError, Problem};
use wire::{Accepted, Job, Question, TextDocument, Uploaded};

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an ordinary answer, beyond what the call itself asks the API to wait.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest wait for what an operator orders over many jobs.
const ORDER: Duration = Duration::from_mins(10);
/// Longest upload of one batch: 32 MiB at 0.5 Mbit/s.
const UPLOAD: Duration = Duration::from_mins(10);
/// Connections kept open between calls.
const IDLE_CONNECTIONS: usize = 8;

/// An answer of the API, as types and as it was sent.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The answer.
    pub body: T,
    /// Its JSON.
    pub raw: String,
}

/// A client of one API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    connection: Connection,
}

/// Whose secret a call shows.
#[derive(Clone, Copy)]
enum As {
    Caller,
    Operator,
    Nobody,
}

impl Client {
    /// A client of the API behind `connection`; opens nothing yet.
    pub fn new(connection: Connection) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .user_agent(concat!("ragq/", env!("CARGO_PKG_VERSION")));
        if is_local(&connection.url) {
            // A proxy for the world outside can't reach this machine's own ports.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Self { http, connection })
    }

    /// The API's address.
    pub fn url(&self) -> &str {
        &self.connection.url
    }

    /// Whether there is a token to show on admin routes.
    pub fn has_admin_token(&self) -> bool {
        self.connection.admin_token.is_some()
    }

    /// Submits a question; the same key and question make one job however often they are sent.
    pub async fn ask(&self, question: &Question, idempotency_key: &str) -> Result<Reply<Accepted>, ClientError> {
        let request = self.request(As::Caller, Method::POST, "/chat").header("idempotency-key", idempotency_key);
        self.call(request.timeout(ANSWER).json(question)).await
    }

    /// The job, as soon as it is final or `wait` has passed.
    pub async fn job(&self, id: &str, wait: Duration) -> Result<Reply<Job>, ClientError> {
        let mut request = self.request(As::Caller, Method::GET, "/job-status").query(&[("job_id", id)]);
        if !wait.is_zero() {
            request = request.query(&[("wait_ms", wait.as_millis().to_string())]);
        }
        self.call(request.timeout(wait + ANSWER)).await
    }

    /// Calls a job off.
    pub async fn cancel(&self, id: &str) -> Result<Reply<Job>, ClientError> {
        let path = format!("/jobs/{}", segment(id));
        self.call(self.request(As::Caller, Method::DELETE, &path).timeout(ANSWER)).await
    }

    /// A job of the operator's: a replay.
    pub async fn operators_job(&self, id: &str) -> Result<Reply<Job>, ClientError> {
        let request = self.request(As::Operator, Method::GET, "/job-status").query(&[("job_id", id)]);
        self.call(request.timeout(ANSWER)).await
    }

    /// Calls a job of the operator's off.
    pub async fn cancel_operators(&self, id: &str) -> Result<Reply<Job>, ClientError> {
        self.admin_delete(&format!("/jobs/{}", segment(id))).await
    }

    /// Submits a text.
    pub async fn put_text(&self, document: &TextDocument) -> Result<Reply<Accepted>, ClientError> {
        self.call(self.request(As::Caller, Method::POST, "/documents").timeout(UPLOAD).json(document)).await
    }

    /// Submits files. That all of them are refused is an answer, not an error.
    pub async fn upload(&self, form: reqwest::multipart::Form) -> Result<Uploaded, ClientError> {
        let request = self.request(As::Caller, Method::POST, "/documents").timeout(UPLOAD).multipart(form);
        let response = self.send(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        if status.is_success() || status == reqwest::StatusCode::UNPROCESSABLE_ENTITY {
            match serde_json::from_str(&body) {
                Ok(uploaded) => return Ok(uploaded),
                Err(error) if status.is_success() => return Err(self.garbled(&error)),
                Err(_) => {}
            }
        }
        Err(ClientError::Refused(Box::new(Problem::read(status, &headers, &body))))
    }

    /// Opens the job's event stream after event number `after`; whatever the status.
    pub(crate) async fn events(&self, id: &str, after: Option<u64>) -> Result<Response, ClientError> {
        let path = format!("/jobs/{}/events", segment(id));
        let mut request = self.request(As::Caller, Method::GET, &path).header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        // The stream has no end in sight, so only its beginning has a limit here.
        match tokio::time::timeout(ANSWER, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(self.interrupted("no answer in time")),
        }
    }

    /// Whether the API is ready to take requests, within `limit`; the body says more.
    pub async fn ready(&self, limit: Duration) -> Result<(bool, Reply<Value>), ClientError> {
        let response = self.send(self.request(As::Nobody, Method::GET, "/health/ready").timeout(limit)).await?;
        let ready = response.status().is_success();
        let raw = self.body(response).await?;
        let body = serde_json::from_str(&raw).unwrap_or_default();
        Ok((ready, Reply { body, raw }))
    }

    /// Reads an admin route.
    pub async fn admin_get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Reply<T>, ClientError> {
        self.call(self.request(As::Operator, Method::GET, path).timeout(ANSWER).query(query)).await
    }

    /// Posts to an admin route.
    pub async fn admin_post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<T>, ClientError> {
        self.call(self.request(As::Operator, Method::POST, path).timeout(ANSWER).json(body)).await
    }

    /// Posts an order that may take long to carry out.
    pub async fn admin_order<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<T>, ClientError> {
        self.call(self.request(As::Operator, Method::POST, path).timeout(ORDER).json(body)).await
    }

    /// Deletes on an admin route.
    pub async fn admin_delete<T: DeserializeOwned>(&self, path: &str) -> Result<Reply<T>, ClientError> {
        self.call(self.request(As::Operator, Method::DELETE, path).timeout(ANSWER)).await
    }

    fn request(&self, who: As, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.connection.url));
        let secret = match who {
            As::Caller => self.connection.api_key.as_ref(),
            As::Operator => self.connection.admin_token.as_ref(),
            As::Nobody => None,
        };
        match secret {
            Some(secret) => request.bearer_auth(secret.expose()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        request.send().await.map_err(|error| ClientError::of_transport(self.url(), &error))
    }

    async fn body(&self, response: Response) -> Result<String, ClientError> {
        response.text().await.map_err(|error| ClientError::of_transport(self.url(), &error))
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Reply<T>, ClientError> {
        let response = self.send(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let raw = self.body(response).await?;
        if !status.is_success() {
            return Err(ClientError::Refused(Box::new(Problem::read(status, &headers, &raw))));
        }
        // An answer without a body (204) is read as null.
        let text = if raw.is_empty() { "null" } else { raw.as_str() };
        let body = serde_json::from_str(text).map_err(|error| self.garbled(&error))?;
        Ok(Reply { body, raw })
    }

    fn garbled(&self, error: &serde_json::Error) -> ClientError {
        ClientError::Garbled { url: self.url().to_owned(), reason: error.to_string() }
    }

    fn interrupted(&self, reason: &str) -> ClientError {
        ClientError::Interrupted { url: self.url().to_owned(), reason: reason.to_owned() }
    }
}

/// A path segment: what is no letter, digit, `-` or `_` is percent-encoded, so that a mistyped id can't
/// become another route.
pub fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'_' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn is_local(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_not_become_another_route() {
        assert_eq!(segment("../admin/dlq?x"), "%2E%2E%2Fadmin%2Fdlq%3Fx");
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(is_local(local), "{local}");
        }
        assert!(!is_local("http://10.0.0.1:1") && !is_local("https://ragq.example"));
    }
}
