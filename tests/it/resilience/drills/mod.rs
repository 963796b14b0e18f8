//! Real processes on a real Redis against `ragq provider-sim`: calls that are called off.

mod calls_off;
mod scene;
