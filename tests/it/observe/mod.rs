//! What ragq tells about itself while it runs, read by the programs that operators read it with.

mod dashboard;
mod docs;
mod history;
mod logs;
mod metrics;
mod prometheus;
mod promtool;
mod rules;
mod sheet;
mod traces;
