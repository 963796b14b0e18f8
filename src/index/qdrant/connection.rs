//! Calls to Qdrant: bounded in time, tried again when the connection breaks, told apart from its REST port.
//!
//! Every call that ragq makes may be made twice (ids are derived, removals go by filter), so a broken connection
//! is retried a few times within the call's own time; anything longer is for the job to retry. What an error
//! means is [`error`](super::error)'s business.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use qdrant_client::{Qdrant, QdrantError};

use crate::{
    domain::failure::{Code, Failure},
    resilience::backoff::Backoff,
};

use super::{Options, error};

/// Tries of one call, the first included.
const TRIES: u32 = 4;
/// Waits between them.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
/// The port that Qdrant's REST interface has unless told otherwise.
const REST_PORT: u16 = 6333;

/// What a call does to the server, which decides how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Looks something up.
    Read,
    /// Changes something and waits until it is applied.
    Write,
}

/// The way to one Qdrant.
pub(super) struct Connection {
    client: Qdrant,
    options: Options,
    /// Host and port, for messages: a URL could hold more.
    address: String,
    /// Whether it ever answered as Qdrant does.
    answered: AtomicBool,
}

impl Connection {
    /// Prepares the way; connects at the first call.
    pub(super) fn new(options: Options) -> Result<Self, Failure> {
        let refuse = |message: String| Failure::new(Code::IndexUnavailable, message);
        let url = reqwest::Url::parse(&options.url)
            .map_err(|error| refuse(format!("QDRANT_URL must be an http or https URL ({error})")))?;
        let (Some(host), true) = (url.host_str(), matches!(url.scheme(), "http" | "https")) else {
            return Err(refuse("QDRANT_URL must be an http or https URL".into()));
        };
        let address = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(format!("QDRANT_URL ({address}) must not hold a user or password: set QDRANT_API_KEY")));
        }
        if url.port() == Some(REST_PORT) {
            return Err(refuse(rest_port(&address)));
        }
        let key = options.api_key.as_ref().map(|key| key.expose().to_owned());
        // A header must be made of it at every call, and the client would show one that can't be.
        if key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(refuse("QDRANT_API_KEY must be printable ASCII without spaces or line breaks".into()));
        }
        let longest = options.read_timeout.max(options.write_timeout);
        let client = Qdrant::from_url(&options.url)
            .api_key(key)
            .connect_timeout(options.connect_timeout)
            .timeout(longest)
            .keep_alive_while_idle()
            // It would block the thread and print to standard output.
            .skip_compatibility_check()
            .build()
            .map_err(|error| error::classify(error, &address, &options.collection))?;
        Ok(Self { client, options, address, answered: AtomicBool::new(false) })
    }

    /// The collection's name in Qdrant.
    pub(super) fn collection(&self) -> &str {
        &self.options.collection
    }

    /// Makes a call that may be made twice.
    pub(super) async fn call<R, T, F, Answer>(&self, kind: Kind, request: &R, make: F) -> Result<T, Failure>
    where
        R: Clone,
        F: Fn(Qdrant, R) -> Answer,
        Answer: Future<Output = Result<T, QdrantError>>,
    {
        self.attempt(kind, request, make).await?.map_err(|error| self.classify(error))
    }

    /// The same, for callers to whom some errors of the server are answers.
    pub(super) async fn attempt<R, T, F, Answer>(
        &self,
        kind: Kind,
        request: &R,
        make: F,
    ) -> Result<Result<T, QdrantError>, Failure>
    where
        R: Clone,
        F: Fn(Qdrant, R) -> Answer,
        Answer: Future<Output = Result<T, QdrantError>>,
    {
        let limit = match kind {
            Kind::Read => self.options.read_timeout,
            Kind::Write => self.options.write_timeout,
        };
        let Ok(outcome) = tokio::time::timeout(limit, self.tries(request, make)).await else {
            let message = format!("Qdrant at {} did not answer within {} ms", self.address, limit.as_millis());
            return Err(self.unless_rest(Failure::new(Code::IndexUnavailable, message)).await);
        };
        match outcome {
            Err(error) if error::may_pass(&error) || self.is_stranger(&error) => {
                Err(self.unless_rest(self.classify(error)).await)
            }
            answer => {
                self.answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
        }
    }

    async fn tries<R, T, F, Answer>(&self, request: &R, make: F) -> Result<T, QdrantError>
    where
        R: Clone,
        F: Fn(Qdrant, R) -> Answer,
        Answer: Future<Output = Result<T, QdrantError>>,
    {
        let mut tries = 1;
        loop {
            match make(self.client.clone(), request.clone()).await {
                Err(error) if tries < TRIES && error::may_pass(&error) => {
                    tokio::time::sleep(BACKOFF.wait(tries)).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// The failure behind an error of the server.
    pub(super) fn classify(&self, error: QdrantError) -> Failure {
        error::classify(error, &self.address, self.collection())
    }

    /// Whether what answers may be no Qdrant at all: it never made sense, and now it says that it knows no call.
    fn is_stranger(&self, error: &QdrantError) -> bool {
        !self.answered.load(Ordering::Relaxed) && error::status(error) == Some(tonic::Code::Unimplemented)
    }

    /// The failure, or a clearer one if what never answered is a server for HTTP/1.1: Qdrant's REST port.
    async fn unless_rest(&self, failure: Failure) -> Failure {
        if self.answered.load(Ordering::Relaxed) {
            return failure;
        }
        let client = reqwest::Client::builder()
            .connect_timeout(self.options.connect_timeout)
            .timeout(self.options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        let Ok(client) = client else { return failure };
        match client.get(&self.options.url).send().await {
            Ok(_) => Failure::new(Code::IndexUnavailable, rest_port(&self.address)),
            Err(_) => failure,
        }
    }
}

fn rest_port(address: &str) -> String {
    format!(
        "QDRANT_URL ({address}) is Qdrant's REST port, or another server for HTTP/1.1: ragq needs the gRPC port, \
         usually 6334"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, key: Option<&str>) -> String {
        let options = Options { api_key: key.map(Into::into), ..Options::new(url) };
        Connection::new(options).map(|_| ()).unwrap_err().message
    }

    #[test]
    fn an_address_that_can_never_answer_is_refused_at_once() {
        assert!(refusal("http://localhost:6333", None).contains("6334"));
        assert!(refusal("https://q.example.com:6333/", None).contains("6334"));
        assert!(refusal("localhost:6334", None).contains("http"));
        assert!(refusal("not a url", None).contains("http"));
        let message = refusal("http://ragq:swordfish@localhost:6334", None);
        assert!(message.contains("QDRANT_API_KEY") && !message.contains("swordfish"), "{message}");
        let message = refusal("http://localhost:6334", Some("sword\nfish"));
        assert!(message.contains("QDRANT_API_KEY") && !message.contains("fish"), "{message}");
    }

    #[test]
    fn an_address_where_nobody_listens_is_taken() {
        for url in
            ["http://localhost:6334", "https://q.example.com:6334/", "https://q.example.com", "http://[::1]:6334"]
        {
            assert!(Connection::new(Options::new(url)).is_ok(), "{url}");
        }
    }
}
