//! The HTTP contract, over TCP, on a real job store and a real index.

mod access;
mod chat;
mod contract;
mod documents;
mod events;
mod harness;
mod http;
mod jobs;
mod logs;
mod operator;
mod uploads;
