//! Small shared values: one field of one hash each, `version value`, and a channel for who watches it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{RedisJobStore, Shared, announcements::Subscription, error::CallError, link::Confirm, scripts};
use crate::{
    domain::clock::Timestamp,
    queue::{Cell, Cells, Result, Swap},
};

/// The channels of the cells that this process watches, for as long as the store lives.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<String, Subscription>>);

#[async_trait]
impl Cells for RedisJobStore {
    async fn cell(&self, name: &str) -> Result<Cell> {
        // Who watches it and then looks misses nothing.
        self.announcements.cell_settled(name).await;
        Ok(self.shared.cell(name).await?)
    }

    async fn swap_cell(&self, name: &str, version: u64, value: &str, announce: bool) -> Result<Swap> {
        let (applied, version, held, now): (bool, u64, String, i64) = self
            .shared
            .call(&scripts::SWAP_CELL, Confirm::No, |command| {
                command.arg(name).arg(version).arg(value).arg(announce);
            })
            .await?;
        let cell = Cell { version, value: held, now: Timestamp(now) };
        if !applied {
            return Ok(Swap::Conflict(cell));
        }
        if announce {
            self.shared.cells.changed(name, cell.clone());
        }
        Ok(Swap::Applied(cell))
    }

    fn watch_cell(&self, name: &str) -> watch::Receiver<Cell> {
        let watch = self.shared.cells.watch(name);
        let mut heard = self.heard_cells.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(name.to_owned()).or_insert_with(|| self.announcements.cell(name));
        watch
    }
}

impl Shared {
    pub(super) async fn cell(&self, name: &str) -> Result<Cell, CallError> {
        let (version, value, now): (u64, String, i64) = self
            .call(&scripts::CELL, Confirm::No, |command| {
                command.arg(name);
            })
            .await?;
        Ok(Cell { version, value, now: Timestamp(now) })
    }
}
