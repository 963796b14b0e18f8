//! ragq from outside and at its seams: one binary, one module per subject.

mod api;
mod cli;
mod config;
mod extract;
mod faults;
mod index;
mod journeys;
mod model;
mod queue;
mod support;
mod up;
mod worker;
