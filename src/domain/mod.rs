//! The words of ragq as types: ids, jobs, failures, events, answers, documents, the clock.
//!
//! Pure: imports nothing of the rest of the crate, does no input or output.

pub mod answer;
pub mod audit;
pub mod clock;
pub mod document;
pub mod event;
pub mod failure;
pub mod ids;
pub mod job;
pub mod origin;
pub mod replay;
pub mod schema;
pub mod spent;
