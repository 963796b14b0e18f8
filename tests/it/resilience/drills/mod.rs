//! Real processes on a real Redis against `ragq provider-sim`: outages, hard limits, calls that are called off.

mod calls_off;
mod limits;
mod outage;
mod scene;
