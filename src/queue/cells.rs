//! Cells: small values that all processes of a deployment share, each with a version.
//!
//! What they mean is their users' matter (a circuit breaker, a budget): a user reads a cell, computes, and puts its
//! result in the place of exactly the version that it read. So the rules stand once, in Rust, and not again as a
//! script of each store. Whoever watches a cell is told of the changes that are announced, so that nobody polls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Result;
use crate::domain::clock::Timestamp;

/// A cell as it was at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Rises by one with every change; 0: never written.
    pub version: u64,
    /// What it holds; empty if it was never written.
    pub value: String,
    /// The store's time when it was looked at or changed.
    pub now: Timestamp,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// The cell holds the new value.
    Applied(Cell),
    /// Another version was there: this one. Nothing was changed.
    Conflict(Cell),
}

/// Small values shared by all processes. There are few of them, and each has some kilobytes at most.
#[async_trait]
pub trait Cells: Send + Sync {
    /// The cell of that name.
    async fn cell(&self, name: &str) -> Result<Cell>;

    /// Puts `value` in the place of version `version`; `announce` tells those who watch, in every process.
    async fn swap_cell(&self, name: &str, version: u64, value: &str, announce: bool) -> Result<Swap>;

    /// The last announced change of the cell; its version is 0 until there is one. After a time in which
    /// announcements may have been missed, the cell as it then is.
    fn watch_cell(&self, name: &str) -> watch::Receiver<Cell>;
}

type Senders = HashMap<String, watch::Sender<Cell>>;

/// Those who watch cells in one process. A cell once watched stays known: there are few.
#[derive(Clone, Debug, Default)]
pub struct CellWatchers(Arc<Mutex<Senders>>);

impl CellWatchers {
    fn senders(&self) -> MutexGuard<'_, Senders> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts watching a cell.
    pub fn watch(&self, name: &str) -> watch::Receiver<Cell> {
        let mut senders = self.senders();
        senders.entry(name.to_owned()).or_insert_with(|| watch::Sender::new(Cell::default())).subscribe()
    }

    /// The names of all cells that were ever watched.
    pub fn watched(&self) -> Vec<String> {
        self.senders().keys().cloned().collect()
    }

    /// Tells of a change, unless a later one was told before.
    pub fn changed(&self, name: &str, cell: Cell) {
        self.tell(name, cell, |known, cell| cell.version > known.version);
    }

    /// Tells how a cell is now, after changes may have been missed; also the store may be an older one.
    pub fn found(&self, name: &str, cell: Cell) {
        self.tell(name, cell, |known, cell| (cell.version, &cell.value) != (known.version, &known.value));
    }

    fn tell(&self, name: &str, cell: Cell, is_news: impl Fn(&Cell, &Cell) -> bool) {
        if let Some(sender) = self.senders().get(name) {
            sender.send_if_modified(|known| {
                let news = is_news(known, &cell);
                if news {
                    *known = cell;
                }
                news
            });
        }
    }
}
