//! `ragq up`: everything in one process.

use std::process::ExitCode;

use super::{args::UpArgs, exit::Exit};
use crate::config::Environment;

/// Runs everything in one process until it is told to stop.
pub fn run(_args: UpArgs, _environment: Environment) -> ExitCode {
    eprintln!("ragq: `ragq up` is not in this build");
    Exit::Failed.into()
}
