//! Callers of the API that do not give up: what a well-made client does while a deployment has faults.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::history;
use crate::support::{
    app::{ADMIN_TOKEN, events},
    eventually,
};

/// How many requests a test has under way at a time.
const AT_ONCE: usize = 24;

/// Callers of the API, which try again until they are told.
#[derive(Clone)]
pub struct Callers {
    /// Without any key.
    pub http: reqwest::Client,
    urls: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
    submitted: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicUsize>,
}

impl Callers {
    /// Callers that know no API yet.
    pub fn new() -> Self {
        Self {
            http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap(),
            urls: Arc::default(),
            turn: Arc::default(),
            submitted: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Tells of one more API.
    pub fn know(&self, url: &str) {
        self.urls.lock().unwrap().push(url.to_owned());
    }

    /// Tells that an API is gone.
    pub fn forget(&self, url: &str) {
        self.urls.lock().unwrap().retain(|known| known != url);
    }

    /// One API after the other.
    pub fn url(&self) -> String {
        let urls = self.urls.lock().unwrap();
        urls[self.turn.fetch_add(1, Ordering::Relaxed) % urls.len()].clone()
    }

    /// Every job whose submit was answered with its id.
    pub fn submitted(&self) -> Vec<String> {
        self.submitted.lock().unwrap().clone()
    }

    /// Counts jobs that were submitted in another way among those that must be there at the end.
    pub fn adopt(&self, jobs: Vec<String>) {
        self.submitted.lock().unwrap().extend(jobs);
    }

    /// How often a request had to be made again.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Sends a request to one API after the other until one answers it: connections that break and 503 are faults
    /// that pass.
    pub async fn send(&self, request: impl Fn(&str) -> reqwest::RequestBuilder) -> (StatusCode, String) {
        eventually(async || {
            let answer = async {
                let response = request(&self.url()).send().await?;
                Ok::<_, reqwest::Error>((response.status(), response.text().await?))
            };
            match answer.await {
                Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Ok(answered) => Some(answered),
            }
        })
        .await
    }

    /// Submits a job, however often it takes, under a key that makes it one job.
    pub async fn submit(&self, path: &str, body: Value) -> String {
        let key = format!("{:032x}", rand::random::<u128>());
        let request = |url: &str| self.http.post(format!("{url}{path}")).header("idempotency-key", &key).json(&body);
        let (status, answer) = self.send(request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let job = answer["job_id"].as_str().unwrap().to_owned();
        self.submitted.lock().unwrap().push(job.clone());
        job
    }

    /// Asks these questions, several at a time; the jobs in the order of the questions.
    pub async fn ask(&self, questions: impl IntoIterator<Item = Value>) -> Vec<String> {
        let submits = questions.into_iter().map(|question| self.submit("/chat", question));
        stream::iter(submits).buffered(AT_ONCE).collect().await
    }

    /// The job's state, from whichever API answers.
    pub async fn view(&self, job: &str, wait_ms: u64) -> Value {
        let request = |url: &str| self.http.get(format!("{url}/job-status?job_id={job}&wait_ms={wait_ms}"));
        let (status, answer) = self.send(request).await;
        assert_eq!(status, StatusCode::OK, "an accepted job can't be read: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The job's state once it is final.
    pub async fn ended(&self, job: &str) -> Value {
        eventually(async || {
            let view = self.view(job, 2_000).await;
            history::is_final(&view).then_some(view)
        })
        .await
    }

    /// The same of many.
    pub async fn all_ended(&self, jobs: &[String]) -> Vec<Value> {
        stream::iter(jobs).map(|job| self.ended(job)).buffered(AT_ONCE).collect().await
    }

    /// The whole logs of jobs that are final.
    pub async fn logs(&self, jobs: &[String]) -> Vec<Vec<(String, Value)>> {
        stream::iter(jobs).map(|job| self.log(job)).buffered(AT_ONCE).collect().await
    }

    /// The whole log of a job that is final.
    pub async fn log(&self, job: &str) -> Vec<(String, Value)> {
        // A stream that a fault cuts short is asked for again as a whole.
        eventually(async || {
            let (status, text) = self.send(|url| self.http.get(format!("{url}/jobs/{job}/events"))).await;
            assert_eq!(status, StatusCode::OK, "{text}");
            let log = events(&text);
            log.last().is_some_and(|(name, _)| history::FINAL.contains(&name.as_str())).then_some(log)
        })
        .await
    }

    /// Cancels a job.
    pub async fn cancel(&self, job: &str) -> Value {
        let (status, answer) = self.send(|url| self.http.delete(format!("{url}/jobs/{job}"))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// What an operator asks.
    pub async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let request = |url: &str| {
            let request = self.http.request(method.clone(), format!("{url}{path}")).bearer_auth(ADMIN_TOKEN);
            if body.is_null() { request } else { request.json(&body) }
        };
        let (status, answer) = self.send(request).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }
}
