//! The command line: reads arguments and environment once, runs one command, ends with its exit code.
//!
//! Everything but `up`, `api`, `worker` ([`serve`]) and `provider-sim` is a client of a running API ([`client`]). What a
//! command prints on standard output is its result; what it says about its progress goes to standard error.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;

pub mod args;
pub mod ask;
pub mod bench;
pub mod client;
pub mod config;
pub mod error;
pub mod exit;
pub mod ingest;
pub mod provider_sim;
pub mod terminal;
pub mod up;

mod descriptors;
mod dlq;
mod health;
mod jobs;
mod many;
mod queue;
mod serve;

use crate::config::Environment;
use args::{Cli, ClientArgs, Command};
use client::{Client, Connection};
use error::CliError;
use exit::Exit;
use terminal::Terminal;

/// Runs the program.
pub fn main() -> ExitCode {
    let environment: Environment = std::env::vars_os().collect();
    match Cli::try_parse() {
        Ok(cli) => run(cli.command, environment),
        Err(error) => {
            // Help and version are what was asked for; anything else is bad usage.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // A closed pipe (`ragq --help | head`) is no failure.
            drop(error.print());
            exit.into()
        }
    }
}

fn run(command: Command, environment: Environment) -> ExitCode {
    match command {
        Command::Up(args) => up::run(args, environment),
        Command::Api(args) => serve::api(args, environment),
        Command::Worker(args) => serve::worker(args, environment),
        Command::Bench { command } => bench::run(command, environment),
        Command::ProviderSim(args) => provider_sim::run(args, &environment),
        Command::Config { command } => config::run(command, environment),
        Command::Health(args) => client_command(&args.client, environment, health::run),
        Command::Ingest(args) => {
            client_command(&args.client, environment, async |caller| ingest::run(caller, &args).await)
        }
        Command::Ask(args) => client_command(&args.client, environment, async |caller| ask::run(caller, &args).await),
        Command::Jobs { client, command } => {
            client_command(&client, environment, async |caller| jobs::run(caller, command).await)
        }
        Command::Dlq { client, command } => {
            client_command(&client, environment, async |caller| dlq::run(caller, command).await)
        }
        Command::Queue { client, command } => {
            client_command(&client, environment, async |caller| queue::run(caller, command).await)
        }
    }
}

/// What every client command is given.
pub(crate) struct Caller {
    /// The API.
    pub(crate) client: Client,
    /// Where output goes.
    pub(crate) terminal: Terminal,
    /// Whether results are printed as the API's JSON.
    pub(crate) json: bool,
}

impl Caller {
    /// Whether a person is there to be asked.
    pub(crate) fn is_watched(&self) -> bool {
        !self.json && self.terminal.stderr && std::io::stdin().is_terminal()
    }

    /// The operator's commands need a token: without one there is no use in asking.
    pub(crate) fn need_admin_token(&self) -> Result<(), CliError> {
        if self.client.has_admin_token() {
            return Ok(());
        }
        Err(CliError::Usage(
            "this needs the operator's token in RAGQ_ADMIN_TOKEN (or its file in RAGQ_ADMIN_TOKEN_FILE); \
             `ragq up` keeps the one it made in DATA/admin-token"
                .to_owned(),
        ))
    }
}

fn client_command<F>(args: &ClientArgs, environment: Environment, command: F) -> ExitCode
where
    F: AsyncFnOnce(Caller) -> Result<Exit, CliError>,
{
    let terminal = Terminal::detect(&environment);
    let outcome = Connection::load(args.url.as_deref(), environment)
        .and_then(|connection| Ok(Client::new(connection)?))
        .and_then(|client| {
            let caller = Caller { client, terminal, json: args.json };
            runtime()?.block_on(command(caller))
        });
    match outcome {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough of it.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            terminal.error(&error);
            error.exit().into()
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)
}
