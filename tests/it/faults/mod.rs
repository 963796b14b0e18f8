//! What goes wrong in operation, done for real: processes killed, stopped and starved, the queue's server stalled,
//! cut off, restarted, filled up and replaced. After each fault the same must hold: nothing accepted is lost, nothing
//! ends twice, and everything goes on by itself.
//!
//! The ordinary run is small. The full size, with the figures that stand in `docs/reliability.md`, is
//! `RAGQ_DRILL=full cargo test --test it faults:: -- --nocapture --test-threads=1`.

mod across;
pub mod callers;
pub mod deployment;
mod embedded;
mod failover;
pub mod history;
pub mod member;
mod random;
mod redis;
mod replies;
mod starting;
mod workers;

/// Whether this is the drill.
pub fn full() -> bool {
    std::env::vars().any(|(name, value)| name == "RAGQ_DRILL" && value == "full")
}

/// The size of something: in the ordinary run, and in the drill.
pub fn size<T>(ordinary: T, drill: T) -> T {
    if full() { drill } else { ordinary }
}

/// Says what a row of the drill counted.
pub fn report(row: &str, counted: &str) {
    if full() {
        eprintln!("drill | {row} | {counted}");
    }
}
