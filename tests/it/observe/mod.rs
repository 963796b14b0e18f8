//! What ragq tells about itself while it runs, read by the programs that operators read it with.

mod docs;
mod metrics;
mod promtool;
