//! The job store: one contract for every adapter, and what is particular to each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

pub mod contract;
mod model;
pub mod redis_link;
pub mod redis_server;
mod redis_settling;
mod sqlite_file;

contract::every_case!(sqlite, crate::queue::sqlite_file::SqliteFixture);
