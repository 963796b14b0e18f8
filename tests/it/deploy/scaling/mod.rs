//! How workers are scaled: the `ScaledObject` of the manifests, as it is written, run by a model of KEDA and of the
//! autoscaler, on the numbers of a real Redis, over real worker processes.
//!
//! The ordinary run goes by a clock ten times as fast. With the clock of the wall, and with what it saw:
//! `RAGQ_DRILL=full cargo test --test it deploy::scaling -- --nocapture --test-threads=1`.

mod autoscaler;
mod burst;
mod hpa;
mod modes;
mod pods;
mod source;
mod spec;
