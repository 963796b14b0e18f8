//! Small shared values: one row each, changed by the writer like everything else.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use super::{SqliteJobStore, sql, writer::Durability};
use crate::{
    domain::clock::Timestamp,
    queue::{Cell, Cells, Result, Swap},
};

#[async_trait]
impl Cells for SqliteJobStore {
    async fn cell(&self, name: &str) -> Result<Cell> {
        let (name, now) = (name.to_owned(), self.shared.clock.now());
        self.readers.read(move |connection| read(connection, &name, now)).await
    }

    async fn swap_cell(&self, name: &str, version: u64, value: &str, announce: bool) -> Result<Swap> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.writer
            .call(Durability::Written, move |step| {
                let held = read(step.connection, &name, step.now)?;
                if held.version != version {
                    return Ok(Swap::Conflict(held));
                }
                let cell = Cell { version: version + 1, value: value.clone(), now: step.now };
                step.execute(sql::CELL_WRITE, params![name, cell.version as i64, cell.value])?;
                if announce {
                    step.cell(&name, &cell);
                }
                Ok(Swap::Applied(cell))
            })
            .await
    }

    fn watch_cell(&self, name: &str) -> watch::Receiver<Cell> {
        self.shared.cells.watch(name)
    }
}

fn read(connection: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<Cell> {
    let cell = connection
        .prepare_cached(sql::CELL)?
        .query_row([name], |row| Ok(Cell { version: row.get::<_, i64>(0)? as u64, value: row.get(1)?, now }));
    Ok(cell.optional()?.unwrap_or_else(|| Cell { now, ..Cell::default() }))
}
