//! Waiting for work without polling: a blocking pop of the kind's signal, on a connection of its own, while
//! somebody waits for it. A token wakes one waiter of one process; the scripts hand it on while work remains.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BACKOFF, Shared};
use crate::domain::job::Kind;

/// How long one blocking pop waits: bounds how long a connection that died unnoticed goes unnoticed.
const POP: Duration = Duration::from_secs(10);

/// All who wait for work.
#[derive(Debug)]
pub(super) struct Wake {
    kinds: [Arc<Waiters>; 3],
}

/// Who waits for work of one kind.
#[derive(Debug, Default)]
struct Waiters {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// A token that came when nobody waited any more.
    kept: bool,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Waiters {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the token to the first who still waits, or keeps it for the next.
    fn wake_one(&self) {
        let mut state = self.state();
        while let Some(waiter) = state.waiting.pop_front() {
            if waiter.send(()).is_ok() {
                return;
            }
        }
        state.kept = true;
    }

    fn nobody(&self) -> bool {
        let mut state = self.state();
        state.waiting.retain(|waiter| !waiter.is_closed());
        state.waiting.is_empty()
    }
}

impl Wake {
    pub(super) fn new(tracker: &TaskTracker, shared: &Arc<Shared>, stop: &CancellationToken) -> Self {
        let kinds = [(); 3].map(|()| Arc::<Waiters>::default());
        for kind in Kind::ALL {
            let key = format!("{}:{kind}", shared.options.config().signal_list());
            let waiters = kinds[*kind as usize].clone();
            let listen = listen(shared.clone(), waiters, key);
            let stop = stop.clone();
            tracker.spawn(async move { stop.run_until_cancelled(listen).await });
        }
        Self { kinds }
    }

    /// Resolves when there may be work of the kind.
    pub(super) async fn wait(&self, kind: Kind) {
        let waiters = &self.kinds[kind as usize];
        let woken = {
            let mut state = waiters.state();
            if std::mem::take(&mut state.kept) {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        waiters.came.notify_one();
        // Told when dropped, so that no token is taken for somebody who has gone.
        let _leaves = Leaves(Arc::downgrade(waiters));
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Leaves(Weak<Waiters>);

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(waiters) = self.0.upgrade() {
            waiters.came.notify_one();
        }
    }
}

async fn listen(shared: Arc<Shared>, waiters: Arc<Waiters>, key: String) {
    let (mut connection, mut failures): (Option<MultiplexedConnection>, u32) = (None, 0);
    loop {
        while waiters.nobody() {
            waiters.came.notified().await;
        }
        let mut open = match connection.take() {
            Some(open) => open,
            None => match shared.link.dedicated().await {
                Ok(open) => open,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(%error, "no connection to wait for work on");
                    tokio::time::sleep(BACKOFF.wait(failures)).await;
                    continue;
                }
            },
        };
        let popped = tokio::select! {
            biased;
            popped = pop(&mut open, &key) => Some(popped),
            // Closes the connection, which ends the pop on the server.
            () = all_left(&waiters) => None,
        };
        match popped {
            Some(Ok(token)) => {
                failures = 0;
                if token {
                    waiters.wake_one();
                }
                connection = Some(open);
            }
            Some(Err(error)) => {
                failures += 1;
                tracing::debug!(%error, "waiting for work was interrupted");
                tokio::time::sleep(BACKOFF.wait(failures)).await;
            }
            None => {}
        }
    }
}

async fn all_left(waiters: &Waiters) {
    while !waiters.nobody() {
        waiters.came.notified().await;
    }
}

async fn pop(connection: &mut MultiplexedConnection, key: &str) -> RedisResult<bool> {
    let mut command = redis::cmd("BLPOP");
    command.arg(key).arg(POP.as_secs());
    let popped: Option<(String, String)> = command.query_async(connection).await?;
    Ok(popped.is_some())
}
