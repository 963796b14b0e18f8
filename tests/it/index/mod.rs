//! The passage index: one contract, expanded over every adapter, and what each adapter promises beyond it.

// Cases and helpers are tests too, though they carry no mark of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod contract;
mod embedded;
mod qdrant;
mod ranking;
