//! What becomes of jobs when the model provider fails, slows down or refuses: through the whole product, job by job
//! in a table (`survives`, `ingestion`), many at once (`bursts`), what it costs (`ledger`), and under load against the simulated provider
//! (`drills`).
//!
//! The ordinary run is small. The full size, with the figures that stand in `docs/reliability.md`, is
//! `RAGQ_DRILL=full cargo test --test it resilience::drills -- --nocapture --test-threads=1`.

mod bursts;
mod drills;
mod ingestion;
mod ledger;
mod row;
mod survives;
