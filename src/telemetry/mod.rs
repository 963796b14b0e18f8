//! What ragq tells about itself while it runs: logs, metrics.

pub mod logs;
pub mod metrics;
