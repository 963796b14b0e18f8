//! The job store: one contract for every adapter, and what is particular to each.

mod contract;
mod model;
mod sqlite_file;

contract::every_case!(sqlite, crate::queue::sqlite_file::SqliteFixture);
