//! Calls that are made at the same time, sent as one: while a script call is under way, others of its kind gather
//! and go together with the next. At rest a call goes at once; under load a round trip is shared by many. A call that
//! the server can't carry out goes again without company, so that others do not fail for one of them.

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
    /// Starts to send what is asked, at most so many at a time. `send` answers each request in order; it is told whether
    /// they may have been carried out before. Ends when it is told to stop; who still asks then is refused.
    pub(super) fn start<F, S>(tracker: &TaskTracker, stop: &CancellationToken, most: usize, send: S) -> Self
    where
        Q: Sync,
        S: Fn(Arc<Vec<Q>>, bool) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<A>, CallError>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<Waiting<Q, A>>(WAITING);
        let stop = stop.clone();
        let sending = async move {
            let mut waiting = Vec::new();
            while receiver.recv_many(&mut waiting, most).await > 0 {
                let (requests, answers): (Vec<_>, Vec<_>) =
                    waiting.drain(..).map(|waiting| (waiting.request, waiting.answer)).unzip();
                let requests = Arc::new(requests);
                let outcomes = match send(requests.clone(), false).await {
                    Ok(results) => results.into_iter().map(Ok).collect(),
                    Err(error) if error.is_of_the_call() && answers.len() > 1 => match Arc::into_inner(requests) {
                        Some(requests) => one_by_one(requests, &send).await,
                        // Whoever sends them lets go of them before it answers.
                        None => all_failed(error, answers.len()),
                    },
                    Err(error) => all_failed(error, answers.len()),
                };
                // Whoever has gone meanwhile does not need the answer.
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    drop(answer.send(outcome));
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

type Outcome<A> = Result<A, Arc<CallError>>;

fn all_failed<A>(error: CallError, count: usize) -> Vec<Outcome<A>> {
    let error = Arc::new(error);
    (0..count).map(|_| Err(error.clone())).collect()
}

/// Sends each request in a call of its own, after the call that they shared failed and may have been carried out in part.
async fn one_by_one<Q, A, F, S>(requests: Vec<Q>, send: &S) -> Vec<Outcome<A>>
where
    S: Fn(Arc<Vec<Q>>, bool) -> F,
    F: Future<Output = Result<Vec<A>, CallError>>,
{
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        let outcome = match send(Arc::new(vec![request]), true).await {
            Ok(mut results) => results.pop().ok_or(CallError::Closed),
            Err(error) => Err(error),
        };
        outcomes.push(outcome.map_err(Arc::new));
    }
    outcomes
}
