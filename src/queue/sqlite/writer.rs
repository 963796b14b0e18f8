//! The one thread that writes: takes operations from a channel and commits them in groups.
//!
//! Whatever waits is put into one transaction, so that one sync serves many submits; while it syncs, the
//! next group gathers. An operation decides everything by what it reads inside the transaction, so an
//! expected case (queue full, stale lease) is an answer, and an error always means that the file could not
//! be read or written. Then the whole group is rolled back and each operation is tried in a transaction of
//! its own: one that does not fit on a full disk does not take the others with it, and nothing pays for a
//! savepoint in the usual case.
//!
//! Durability is chosen per group: a group that holds an operation whose outcome is promised to someone
//! outside is synced at its commit (`synchronous = FULL`; the first sync of a write-ahead log also syncs
//! its folder), other groups survive the death of the process but may be lost with the machine, which
//! takes the store back to an earlier state, never to a broken one.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    state::State,
    step::{Effects, Step},
};
use crate::queue::{Result, StoreError};

/// Operations in one transaction at most.
const GROUP: usize = 512;

/// Operations that may wait for the writer before their callers do.
const WAITING: usize = 4_096;

/// Whether an operation is synced before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// It survives the loss of power.
    Synced,
    /// It survives the death of the process.
    Written,
}

/// One operation on its way: run (again, after a rollback) and then answered.
trait Operation: Send {
    fn durability(&self) -> Durability;
    fn run(&mut self, step: &mut Step<'_>) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, error: Option<StoreError>);
}

struct Call<T, F> {
    durability: Durability,
    run: F,
    output: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnMut(&mut Step<'_>) -> rusqlite::Result<T> + Send> Operation for Call<T, F> {
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, step: &mut Step<'_>) -> rusqlite::Result<()> {
        self.output = Some((self.run)(step)?);
        Ok(())
    }

    fn answer(self: Box<Self>, error: Option<StoreError>) {
        let answer = match (error, self.output) {
            (None, Some(output)) => Ok(output),
            (Some(error), _) => Err(error),
            (None, None) => Err(StoreError::Closed),
        };
        // A caller that no longer listens is no matter: what was committed stands.
        drop(self.reply.send(answer));
    }
}

enum Message {
    Run(Box<dyn Operation>),
    Close,
}

/// The handle on the writer.
#[derive(Debug)]
pub(super) struct Writer {
    sender: mpsc::Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `guard` is held until it has ended.
    pub(super) fn start(
        connection: Connection,
        state: State,
        shared: Arc<Shared>,
        guard: std::fs::File,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("jobs-writer".into()).spawn(move || {
            Loop { connection, state, shared, synced: None }.run(receiver);
            drop(guard);
        })?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)) })
    }

    /// Runs an operation in the next group and answers once the group is committed.
    pub(super) async fn call<T, F>(&self, durability: Durability, run: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Step<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { durability, run, output: None, reply };
        self.sender.send(Message::Run(Box::new(call))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits what waits, folds the write-ahead log into the file and ends the thread.
    pub(super) async fn close(&self) {
        // Fails if the thread has ended already.
        drop(self.sender.send(Message::Close).await);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches what its operations throw; there is nothing to learn from its end.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

struct Loop {
    connection: Connection,
    state: State,
    shared: Arc<Shared>,
    synced: Option<Durability>,
}

impl Loop {
    fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        let mut waiting = Vec::with_capacity(GROUP);
        while receiver.blocking_recv_many(&mut waiting, GROUP) > 0 {
            let mut group = Vec::with_capacity(waiting.len());
            for message in waiting.drain(..) {
                match message {
                    Message::Run(operation) => group.push(operation),
                    // What was sent before is still received; later callers are told.
                    Message::Close => receiver.close(),
                }
            }
            self.commit(group);
        }
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "job store closed without a checkpoint");
        }
    }

    fn commit(&mut self, mut group: Vec<Box<dyn Operation>>) {
        let state = self.state.clone();
        match self.transaction(&mut group) {
            Ok(effects) => {
                effects.publish(&self.shared);
                for operation in group {
                    operation.answer(None);
                }
            }
            Err(error) => {
                self.state = state;
                let alone = group.len() == 1;
                let mut error = Some(error);
                for operation in group {
                    if alone {
                        self.state.hold_leases(self.shared.clock.now(), self.shared.options.lease);
                        operation.answer(error.take());
                    } else {
                        self.commit(vec![operation]);
                    }
                }
            }
        }
    }

    fn transaction(&mut self, group: &mut [Box<dyn Operation>]) -> Result<Effects> {
        let error = match catch_unwind(AssertUnwindSafe(|| self.attempt(group))) {
            Ok(Ok(effects)) => return Ok(effects),
            Ok(Err(error)) => error.into(),
            Err(_) => StoreError::Unavailable("an operation of the job store panicked".into()),
        };
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = &error as &dyn Error, "job store could not roll back");
        }
        Err(error)
    }

    fn attempt(&mut self, group: &mut [Box<dyn Operation>]) -> rusqlite::Result<Effects> {
        let synced = group.iter().any(|operation| operation.durability() == Durability::Synced);
        self.set_durability(if synced { Durability::Synced } else { Durability::Written })?;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let totals = self.state.totals;
        let mut effects = Effects::default();
        let mut step = Step {
            connection: &self.connection,
            state: &mut self.state,
            effects: &mut effects,
            options: &self.shared.options,
            now: self.shared.clock.now(),
        };
        for operation in group {
            operation.run(&mut step)?;
        }
        if self.state.totals != totals {
            self.state.totals.write(&self.connection)?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(effects)
    }

    fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.synced != Some(durability) {
            self.connection.execute_batch(match durability {
                Durability::Synced => "PRAGMA synchronous = FULL",
                Durability::Written => "PRAGMA synchronous = NORMAL",
            })?;
            self.synced = Some(durability);
        }
        Ok(())
    }
}
