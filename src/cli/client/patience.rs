//! Waiting when the API asks for it, and sending again what may safely be sent twice.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::ClientError;

/// Longest single wait, whatever `Retry-After` says: then the API is asked again.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Wait after a 429 or 503 that names none.
const UNNAMED_WAIT: Duration = Duration::from_secs(1);
/// Times a request is sent again after its connection was lost in the middle.
const RESENDS: u32 = 3;

/// How long to go on, and whom to tell.
pub struct Patience<'a> {
    /// Longest time for all tries and waits together.
    pub limit: Duration,
    /// Also wait while nothing listens: an API that was there may be restarting.
    pub outlast_restarts: bool,
    /// Told of every wait: why, and how long.
    pub tell: &'a (dyn Fn(&str, Duration) + Sync),
}

impl Patience<'_> {
    /// Sends until there is an answer that waiting would not change. What is sent must be safe to send twice.
    pub async fn send<T>(&self, mut request: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let begun = Instant::now();
        let mut resends = 0;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(wait) = self.wait(&error, &mut resends) else { return Err(error) };
            if begun.elapsed() + wait > self.limit {
                return Err(error);
            }
            (self.tell)(&why(&error), wait);
            sleep(wait).await;
        }
    }

    fn wait(&self, error: &ClientError, resends: &mut u32) -> Option<Duration> {
        match error {
            ClientError::Refused(problem) => match problem.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Some(problem.retry_after.unwrap_or(UNNAMED_WAIT).clamp(Duration::from_millis(100), LONGEST_WAIT))
                }
                _ => None,
            },
            ClientError::Unreachable { .. } if self.outlast_restarts => Some(UNNAMED_WAIT),
            ClientError::Interrupted { .. } if *resends < RESENDS => {
                *resends += 1;
                Some(Duration::from_millis(250) * 2_u32.pow(*resends))
            }
            ClientError::Unreachable { .. }
            | ClientError::Interrupted { .. }
            | ClientError::Garbled { .. }
            | ClientError::Setup(_) => None,
        }
    }
}

fn why(error: &ClientError) -> String {
    match error {
        ClientError::Refused(problem) => problem.summary(),
        ClientError::Unreachable { reason, .. } => format!("the API is not there at present ({reason})"),
        ClientError::Interrupted { reason, .. } => format!("the connection was lost ({reason})"),
        ClientError::Garbled { .. } | ClientError::Setup(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Mutex};

    use super::*;
    use crate::cli::client::Problem;

    fn refused(status: u16, retry_after: Option<u64>) -> ClientError {
        let mut headers = http::HeaderMap::new();
        if let Some(seconds) = retry_after {
            headers.insert("retry-after", seconds.into());
        }
        let status = StatusCode::from_u16(status).unwrap();
        ClientError::Refused(Box::new(Problem::read(status, &headers, "{}")))
    }

    fn lost() -> ClientError {
        ClientError::Interrupted { url: "u".into(), reason: "reset".into() }
    }

    async fn tries(limit: u64, error: impl Fn() -> ClientError) -> (u32, Vec<Duration>) {
        let (count, waits) = (Cell::new(0), Mutex::new(Vec::new()));
        let tell = |_: &str, wait| waits.lock().unwrap().push(wait);
        let patience = Patience { limit: Duration::from_secs(limit), outlast_restarts: false, tell: &tell };
        let outcome = patience
            .send(async || {
                count.set(count.get() + 1);
                Err::<(), _>(error())
            })
            .await;
        assert!(outcome.is_err());
        (count.get(), waits.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_waited_for_as_long_as_it_says_until_the_limit() {
        let (count, waits) = tries(20, || refused(503, Some(7))).await;
        assert_eq!((count, waits), (3, vec![Duration::from_secs(7); 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_tried_again_three_times_and_a_refusal_never() {
        assert_eq!(tries(600, lost).await.0, 4);
        assert_eq!(tries(600, || refused(422, None)).await.0, 1);
    }
}
