//! Calls that are made at the same time, sent as one: while a script call is under way, others of its kind gather
//! and go together with the next. At rest a call goes at once; under load a round trip is shared by many.

use std::{future::Future, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::error::CallError;

/// Calls that may wait to be sent; more callers wait for room.
const WAITING: usize = 4_096;

struct Waiting<Q, A> {
    request: Q,
    answer: oneshot::Sender<Result<A, Arc<CallError>>>,
}

/// The calls of one kind.
#[derive(Debug)]
pub(super) struct Batch<Q, A> {
    sender: mpsc::Sender<Waiting<Q, A>>,
}

impl<Q: Send + 'static, A: Send + 'static> Batch<Q, A> {
    /// Starts to send what is asked, at most so many at a time. `send` answers each request in order. Ends
    /// when it is told to stop; who still asks then is refused.
    pub(super) fn start<F, S>(tracker: &TaskTracker, stop: &CancellationToken, most: usize, send: S) -> Self
    where
        S: Fn(Vec<Q>) -> F + Send + 'static,
        F: Future<Output = Result<Vec<A>, CallError>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<Waiting<Q, A>>(WAITING);
        let stop = stop.clone();
        let sending = async move {
            let mut waiting = Vec::new();
            while receiver.recv_many(&mut waiting, most).await > 0 {
                let (requests, answers): (Vec<_>, Vec<_>) =
                    waiting.drain(..).map(|waiting| (waiting.request, waiting.answer)).unzip();
                // Whoever has gone meanwhile does not need the answer.
                match send(requests).await {
                    Ok(results) => {
                        for (answer, result) in answers.into_iter().zip(results) {
                            drop(answer.send(Ok(result)));
                        }
                    }
                    Err(error) => {
                        let error = Arc::new(error);
                        for answer in answers {
                            drop(answer.send(Err(error.clone())));
                        }
                    }
                }
            }
        };
        tracker.spawn(async move { stop.run_until_cancelled(sending).await });
        Self { sender }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Q) -> Result<A, Arc<CallError>> {
        let (answer, receiver) = oneshot::channel();
        if self.sender.send(Waiting { request, answer }).await.is_err() {
            return Err(Arc::new(CallError::Closed));
        }
        receiver.await.unwrap_or_else(|_| Err(Arc::new(CallError::Closed)))
    }
}
