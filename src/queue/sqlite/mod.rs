//! The job store in one `SQLite` file, for everything in one process.
//!
//! [`writer`] commits in groups, [`readers`] read beside it, [`step`] holds the changes of a job that
//! operations share; each of the other files implements one part of the port. Statements stand in `sql/`,
//! the schema in `migrations/`. The file belongs to one process at a time: a lock beside it says so.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use self::{
    readers::Readers,
    readmarks::ReadMarks,
    state::State,
    step::{Effects, Step},
    writer::Writer,
};
use super::{
    Result,
    cells::CellWatchers,
    history::{Counts, Told},
    watch::Watchers,
};
use crate::domain::clock::Clock;

mod cells;
mod deliveries;
mod documents;
mod error;
mod history;
mod maintenance;
mod operations;
mod readers;
mod readmarks;
mod replays;
mod rows;
mod schema;
mod sql;
mod state;
mod step;
mod submissions;
mod writer;

pub use error::OpenError;

/// How the store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a worker may be silent before its jobs are taken back.
    pub lease: Duration,
    /// Lost leases before a job is dead as poison, at least 1.
    pub max_lost_leases: u32,
    /// Jobs that may be unfinished before submits are refused.
    pub max_jobs: u64,
    /// Bytes of their payloads and uploads before submits are refused.
    pub max_bytes: u64,
    /// How long completed and cancelled jobs are kept.
    pub completed_retention: Duration,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// How long entries of the audit log are kept.
    pub audit_retention: Duration,
    /// Whether opening takes all leases back: no worker of an earlier process lives on.
    pub take_back_all: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            max_lost_leases: 3,
            max_jobs: 1_000_000,
            max_bytes: 1024 * 1024 * 1024,
            completed_retention: Duration::from_hours(24),
            dead_retention: Duration::from_hours(14 * 24),
            audit_retention: Duration::from_hours(90 * 24),
            take_back_all: true,
        }
    }
}

/// What the writer's thread and the store's callers have in common.
#[derive(Debug)]
struct Shared {
    options: SqliteOptions,
    clock: Arc<dyn Clock>,
    watchers: Watchers,
    cells: CellWatchers,
    work: [Notify; 3],
    counts: Counts,
}

/// The job store in one `SQLite` file.
#[derive(Debug)]
pub struct SqliteJobStore {
    shared: Arc<Shared>,
    writer: Writer,
    readers: Readers,
    read_marks: ReadMarks,
    told: Told,
}

impl SqliteJobStore {
    /// Opens the store at `path` (the file, usually `jobs.db`), making it and its folder if need be. Blocks
    /// for as long as the disk takes. Fails if another process has it open, or it is of a newer ragq.
    pub fn open(path: &Path, options: SqliteOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let lock = prepare(path)?;
        let connection = schema::open_writer(path)?;
        let mut state = State::read(&connection)?;
        let shared = Arc::new(Shared {
            options,
            clock,
            watchers: Watchers::default(),
            cells: CellWatchers::default(),
            work: Default::default(),
            counts: Counts::default(),
        });
        if shared.options.take_back_all {
            let transaction = connection.unchecked_transaction()?;
            let mut effects = Effects::default();
            let mut step = Step {
                connection: &connection,
                state: &mut state,
                effects: &mut effects,
                options: &shared.options,
                now: shared.clock.now(),
            };
            maintenance::take_back_all(&mut step)?;
            state.totals.write(&connection)?;
            transaction.commit()?;
        }
        // What an earlier process left queued is work for the first worker that asks.
        for work in &shared.work {
            work.notify_one();
        }
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let writer = Writer::start(connection, state, Arc::clone(&shared), lock).map_err(io)?;
        Ok(Self {
            shared,
            writer,
            readers: Readers::new(path.to_owned()),
            read_marks: ReadMarks::default(),
            told: Told::default(),
        })
    }

    /// Finishes what was asked for, folds the write-ahead log into the file and lets go of it. Later calls
    /// are refused as closed.
    pub async fn close(&self) {
        if let Err(error) = self.tell_history().await {
            tracing::debug!(%error, "what was counted last is missing in the history");
        }
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the folder, takes the lock, and sees that the names of both survive the loss of power.
fn prepare(path: &Path) -> Result<File, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let lock_path = with_suffix(path, ".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(io(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: lock_path, source }),
    }
    // Both files are made by now, or will be by SQLite, which syncs the folder with the log's first sync.
    for made in [Some(folder), folder.parent()].into_iter().flatten() {
        let made = if made.as_os_str().is_empty() { Path::new(".") } else { made };
        // Some file systems can't sync a folder; they need not, or it can't be helped.
        if let Err(error) = File::open(made).and_then(|folder| folder.sync_all()) {
            tracing::debug!(%error, "folder of the job store could not be synced");
        }
    }
    Ok(lock)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
