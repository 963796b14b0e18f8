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

/// Decides after each failed try whether there is to be another, and waits for it.
pub struct Patience<'a> {
    limit: Duration,
    outlasts_restarts: bool,
    tell: &'a (dyn Fn(&str, Duration) + Sync),
    begun: Instant,
    resends: u32,
}

impl<'a> Patience<'a> {
    /// Patience for `limit`, all tries and waits together; every wait is told, with its reason.
    pub fn new(limit: Duration, tell: &'a (dyn Fn(&str, Duration) + Sync)) -> Self {
        Self { limit, outlasts_restarts: false, tell, begun: Instant::now(), resends: 0 }
    }

    /// Also waits while nothing listens: an API that was there may be restarting.
    #[must_use]
    pub fn outlasting_restarts(mut self, outlasts: bool) -> Self {
        self.outlasts_restarts = outlasts;
        self
    }

    /// Returns when it is time to send again, which must be safe to do; gives the error back if that would
    /// not change it or patience is at its end.
    pub async fn endure(&mut self, error: ClientError) -> Result<(), ClientError> {
        match self.wait(&error) {
            Some(wait) if self.begun.elapsed() + wait <= self.limit => {
                (self.tell)(&why(&error), wait);
                sleep(wait).await;
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }

    fn wait(&mut self, error: &ClientError) -> Option<Duration> {
        match error {
            ClientError::Refused(problem) => match problem.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Some(problem.retry_after.unwrap_or(UNNAMED_WAIT).clamp(Duration::from_millis(100), LONGEST_WAIT))
                }
                _ => None,
            },
            ClientError::Unreachable { .. } if self.outlasts_restarts => Some(UNNAMED_WAIT),
            ClientError::Interrupted { .. } if self.resends < RESENDS => {
                self.resends += 1;
                Some(Duration::from_millis(250) * 2_u32.pow(self.resends))
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
    use std::sync::Mutex;

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
        let waits = Mutex::new(Vec::new());
        let tell = |_: &str, wait| waits.lock().unwrap().push(wait);
        let mut patience = Patience::new(Duration::from_secs(limit), &tell);
        let mut count = 1;
        while patience.endure(error()).await.is_ok() {
            count += 1;
        }
        (count, waits.into_inner().unwrap())
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
