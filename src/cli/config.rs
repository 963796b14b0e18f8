//! `ragq config`: shows, checks and documents the settings. Loading and rendering are in [`crate::config`].

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, Environment, Loaded, Purpose, Sources, docs, show};

/// Exit code of a wrong configuration (`EX_USAGE` of sysexits).
const BAD_CONFIGURATION: u8 = 64;

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting's value and where it came from; secrets are masked.
    Show {
        /// Where to read from.
        #[command(flatten)]
        file: ConfigFile,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check all settings and name everything that is wrong.
    Check {
        /// Where to read from.
        #[command(flatten)]
        file: ConfigFile,
        /// The process that is to be deployed with them.
        #[arg(long, value_enum, default_value_t)]
        role: CheckedRole,
    },
    /// Print the reference of all settings as Markdown.
    Docs,
}

/// The processes that settings are checked for.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum CheckedRole {
    /// `ragq up`
    #[default]
    Up,
    /// `ragq api`
    Api,
    /// `ragq worker`: also that it has the time to finish its answers when it is stopped
    Worker,
}

impl From<CheckedRole> for Purpose {
    fn from(role: CheckedRole) -> Self {
        match role {
            CheckedRole::Up => Self::Serve,
            CheckedRole::Api => Self::Api,
            CheckedRole::Worker => Self::Worker,
        }
    }
}

/// Names the configuration file.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// Configuration file [default: `RAGQ_CONFIG`, else ragq.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Does it; what was asked for goes to standard output, problems to standard error.
pub fn run(command: ConfigCommand, environment: Environment) -> ExitCode {
    let load = |file: ConfigFile, role: CheckedRole| {
        let sources =
            Sources { config_file: file.config, purpose: role.into(), deploying: true, ..Sources::new(environment) };
        config::load(&sources).map_err(|problems| {
            complain(&problems.to_string());
            ExitCode::from(BAD_CONFIGURATION)
        })
    };
    let outcome = match command {
        ConfigCommand::Docs => Ok(docs::markdown()),
        ConfigCommand::Check { file, role } => load(file, role).map(|loaded| checked(&loaded)),
        ConfigCommand::Show { file, json: false } => load(file, CheckedRole::Up).map(|loaded| show::text(&loaded)),
        ConfigCommand::Show { file, json: true } => {
            load(file, CheckedRole::Up).map(|loaded| format!("{:#}\n", show::json(&loaded)))
        }
    };
    outcome.map_or_else(|exit| exit, |text| print(&text))
}

fn checked(loaded: &Loaded) -> String {
    for notice in &loaded.notices {
        complain(&format!("note: {notice}"));
    }
    "ok\n".to_owned()
}

/// A reader that has gone (`ragq config show | head -1`) is no reason for a panic.
fn print(text: &str) -> ExitCode {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
