//! A few read-only connections, used on the runtime's blocking threads: nothing runs while nobody reads,
//! and reads neither wait for the writer nor hold it up.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema::open_reader;
use crate::queue::{Result, StoreError};

/// Reads at a time: more than there are usually cores would only queue up inside `SQLite`.
const CONNECTIONS: u32 = 4;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// A pool over the file; connections are opened when first needed.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Arc::default(), permits: Arc::new(Semaphore::new(CONNECTIONS as usize)) }
    }

    /// Runs a read; all its statements see the same state of the store.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            connection.prepare_cached("BEGIN")?.execute([])?;
            let answer = read(&connection);
            // A connection that can't end its transaction is dropped, which ends it.
            if connection.prepare_cached("COMMIT")?.execute([]).is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            answer
        });
        match done.await {
            Ok(answer) => Ok(answer?),
            Err(error) => Err(StoreError::Unavailable(error.into())),
        }
    }

    /// Waits for the reads under way and closes the connections; later reads are refused.
    pub(super) async fn close(&self) {
        if let Ok(all) = self.permits.acquire_many(CONNECTIONS).await {
            self.permits.close();
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            drop(all);
        }
    }
}
