//! `ragq config`: shows, checks and documents the settings. Loading and rendering are in [`crate::config`].

use std::{io::Write as _, process::ExitCode};

use clap::Subcommand;

use crate::config::{self, Sources, docs, show};

/// Exit code of a wrong configuration (`EX_USAGE` of sysexits).
const BAD_CONFIGURATION: u8 = 64;

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting's value and where it came from; secrets are masked
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check all settings and name everything that is wrong
    Check,
    /// Print the reference of all settings as Markdown
    Docs,
}

/// Does it; what was asked for goes to standard output, problems to standard error.
pub fn run(command: &ConfigCommand, sources: &Sources) -> ExitCode {
    match command {
        ConfigCommand::Docs => print(&docs::markdown()),
        ConfigCommand::Check => with_settings(sources, |loaded| {
            for notice in &loaded.notices {
                complain(&format!("note: {notice}"));
            }
            print("ok\n")
        }),
        ConfigCommand::Show { json: false } => with_settings(sources, |loaded| print(&show::text(loaded))),
        ConfigCommand::Show { json: true } => {
            with_settings(sources, |loaded| print(&format!("{:#}\n", show::json(loaded))))
        }
    }
}

fn with_settings(sources: &Sources, done: impl FnOnce(&config::Loaded) -> ExitCode) -> ExitCode {
    match config::load(sources) {
        Ok(loaded) => done(&loaded),
        Err(problems) => {
            complain(&problems.to_string());
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// A reader that has gone (`ragq config show | head -1`) is no reason for a panic.
fn print(text: &str) -> ExitCode {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
