//! The HTTP contract, over TCP, on a real job store and a real index.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

mod access;
mod chat;
mod contract;
mod deeds;
mod documents;
mod events;
mod fuzz;
mod harness;
mod http;
mod jobs;
mod logs;
mod operator;
mod refusals;
mod uploads;
