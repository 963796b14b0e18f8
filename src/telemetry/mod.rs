//! What ragq tells about itself while it runs: logs.

pub mod logs;
