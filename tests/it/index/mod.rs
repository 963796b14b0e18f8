//! The passage index: one contract, expanded over every adapter, and what each adapter promises beyond it.

mod contract;
mod embedded;
mod ranking;
