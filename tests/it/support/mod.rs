//! What tests share: apps, processes, the scripted provider, waiting for conditions.

pub mod app;
pub mod process;
pub mod provider;
