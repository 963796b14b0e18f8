//! ragq answers questions over a team's documents through a durable queue.
//!
//! `domain` and `resilience` are pure; `queue`, `index` and `model` are ports with their adapters inside;
//! `rag` and `replay` hold the use cases; `api`, `worker` and `cli` drive them; `app` is the only place that names
//! adapters; `lifecycle` starts, supervises and drains.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod extract;
pub mod gate;
pub mod index;
pub mod lifecycle;
pub mod model;
pub mod queue;
pub mod rag;
pub mod replay;
pub mod resilience;
pub mod telemetry;
pub mod text;
pub mod worker;
