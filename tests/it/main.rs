//! ragq from outside and at its seams: one binary, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "the runtime of a test ends with all its tasks")]

mod api;
mod asking;
mod cli;
mod config;
mod deploy;
mod drill;
mod extract;
mod faults;
mod fetches;
mod gate;
mod index;
mod journeys;
mod model;
mod observe;
mod page;
mod queue;
mod replays;
mod resilience;
mod support;
mod up;
mod worker;
