//! Follows a job's event stream to its end, going on where a lost connection broke off.

use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource as _;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use http::StatusCode;
use reqwest::{Response, header};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Client, ClientError, Problem, wire::Event};

/// Longest silence: the API writes a comment every 15 s, so a connection that is silent for three times
/// that long is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// First wait before reconnecting when the API did not name one; doubles up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait before reconnecting.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long the API may be away before following is given up.
const AWAY: Duration = Duration::from_mins(2);

/// What following came upon.
#[derive(Debug)]
pub enum Followed {
    /// The next event; each is seen once, in order.
    Event(Event),
    /// The connection was lost and will be opened again.
    Lost {
        /// How.
        reason: String,
    },
    /// The log is at its end and has been read before.
    Ended,
    /// There is no event stream to be had: ask for the status instead.
    Unavailable,
}

/// A reader of one job's events.
pub struct Follower<'a> {
    client: &'a Client,
    job: &'a str,
    after: Option<u64>,
    events: Option<BoxStream<'static, Result<eventsource_stream::Event, String>>>,
    /// What `retry:` said: how long to wait before reconnecting.
    told: Option<Duration>,
    /// Connections that brought nothing, since the last event.
    idle_connections: u32,
    away_since: Option<Instant>,
    wait: Duration,
}

impl<'a> Follower<'a> {
    /// A reader from the log's beginning.
    pub fn new(client: &'a Client, job: &'a str) -> Self {
        Self {
            client,
            job,
            after: None,
            events: None,
            told: None,
            idle_connections: 0,
            away_since: None,
            wait: Duration::ZERO,
        }
    }

    /// The next thing; after `Ended`, `Unavailable` or an error there is nothing more to be had.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        loop {
            let Some(events) = &mut self.events else {
                sleep(self.wait).await;
                match self.connect().await? {
                    Some(followed) => return Ok(followed),
                    None => continue,
                }
            };
            match events.next().await {
                Some(Ok(event)) => {
                    if let Some(event) = self.read(event) {
                        return Ok(Followed::Event(event));
                    }
                }
                Some(Err(reason)) => return Ok(self.lost(reason, false)),
                None => return Ok(self.lost("the API closed the stream".to_owned(), true)),
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Followed>, ClientError> {
        let response = match self.client.events(self.job, self.after).await {
            Ok(response) => response,
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Interrupted { .. })) => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                return if since.elapsed() > AWAY { Err(error) } else { Ok(Some(self.lost(error.to_string(), false))) };
            }
            Err(error) => return Err(error),
        };
        self.away_since = None;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(Some(Followed::Ended)),
            StatusCode::OK if is_event_stream(&response) => {
                self.events = Some(watched(response.bytes_stream()).eventsource().map(reason_of).boxed());
                Ok(None)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let problem = problem(response).await;
                let lost = self.lost(problem.summary(), false);
                self.wait = self.wait.max(problem.retry_after.unwrap_or_default().min(Duration::from_mins(1)));
                Ok(Some(lost))
            }
            // Something between has no way for streams, or the API has no such route.
            StatusCode::OK
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED => Ok(Some(Followed::Unavailable)),
            status if status.is_server_error() => Ok(Some(self.lost(problem(response).await.summary(), false))),
            _ => Err(ClientError::Refused(Box::new(problem(response).await))),
        }
    }

    fn read(&mut self, event: eventsource_stream::Event) -> Option<Event> {
        if event.retry.is_some() {
            self.told = event.retry;
        }
        let data: Value = serde_json::from_str(&event.data).ok()?;
        let seq = data.get("seq").and_then(Value::as_u64).or_else(|| event.id.parse().ok())?;
        // Seen before the connection was lost.
        if self.after.is_some_and(|after| seq <= after) {
            return None;
        }
        self.after = Some(seq);
        self.idle_connections = 0;
        let attempt = data.get("attempt").and_then(Value::as_u64).unwrap_or(0) as u32;
        Some(Event { seq, attempt, name: event.event, data })
    }

    /// Decides when to reconnect. An API that ends a stream in order is handing its readers over (it drains,
    /// with `retry: 0`), so the first time it is asked again at once.
    fn lost(&mut self, reason: String, in_order: bool) -> Followed {
        self.events = None;
        let growing = FIRST_WAIT * 2_u32.pow(self.idle_connections.min(8));
        self.wait = match (self.told, self.idle_connections) {
            (Some(told), 0) => told,
            (None, 0) if in_order => Duration::ZERO,
            (told, _) => told.unwrap_or_default().max(growing),
        }
        .min(LONGEST_WAIT);
        self.idle_connections += 1;
        Followed::Lost { reason }
    }
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}

async fn problem(response: Response) -> Problem {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.unwrap_or_default();
    Problem::read(status, &headers, &body)
}

fn reason_of<E: std::fmt::Display>(
    event: Result<eventsource_stream::Event, eventsource_stream::EventStreamError<E>>,
) -> Result<eventsource_stream::Event, String> {
    event.map_err(|error| error.to_string())
}

/// The bytes, ended by an error once they stop coming; comments, which the parser swallows, count as life.
fn watched(
    bytes: impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, String>> + Send {
    futures::stream::unfold(Some(bytes.boxed()), async |state| {
        let mut bytes = state?;
        match tokio::time::timeout(SILENCE, bytes.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(bytes))),
            Ok(Some(Err(_))) => Some((Err("the connection broke".to_owned()), None)),
            Ok(None) => None,
            Err(_) => Some((Err("the API fell silent".to_owned()), None)),
        }
    })
}
