//! `ragq bench`: measures a deployment over HTTP (`submit`, `chat`), or the queue by itself (`drain`).
//!
//! A run prints one line of JSON on standard output and its progress on standard error. Machines differ and are
//! busy with other things, so every figure of speed stands beside the CPU time of a job, which repeats better.

use std::process::ExitCode;

use serde::Serialize;

pub mod args;

mod chat;
mod crew;
mod drain;
pub(super) mod figures;
mod fill;
mod http;
mod pickup;
mod redis;
mod submit;
mod usage;
mod worker;

use super::{
    Caller, Environment,
    client::{Client, Connection},
    error::CliError,
    exit::Exit,
    serve,
    terminal::Terminal,
};
use crate::{
    app::AppError,
    config::{self, Purpose, Settings, Sources},
    domain::{failure::chain, ids},
    telemetry,
};
use args::{BenchCommand, ClientArgs};

/// Runs a measurement.
pub(super) fn run(command: BenchCommand, environment: Environment) -> ExitCode {
    match command {
        BenchCommand::Drain(args) => {
            let none = ClientArgs::default();
            measure(&none, environment, async |settings, terminal| drain::run(settings, args, terminal).await)
        }
        BenchCommand::Worker(args) => worker::run(args, environment),
        BenchCommand::Submit(args) => measure(&args.client, environment, async |settings, terminal| {
            submit::run(caller(&settings, terminal)?, &settings, &args).await
        }),
        BenchCommand::Chat(args) => measure(&args.client, environment, async |settings, terminal| {
            chat::run(caller(&settings, terminal)?, &settings, &args).await
        }),
    }
}

/// On one thread, which leaves the others of a small machine to what is measured.
fn measure<F>(client: &ClientArgs, environment: Environment, measurement: F) -> ExitCode
where
    F: AsyncFnOnce(Settings, Terminal) -> anyhow::Result<Exit>,
{
    let terminal = Terminal::detect(&environment);
    let sources = Sources { purpose: Purpose::Client, ..Sources::new(environment) };
    let outcome = config::load(&sources.with_flag("--url", "client.url", client.url.as_deref()))
        .map_err(|problems| CliError::Usage(problems.to_string()))
        .and_then(|loaded| {
            let export = telemetry::start(&loaded.settings, &ids::boot("bench"))
                .map_err(|error| CliError::Usage(chain(&error)))?;
            Ok((super::runtime()?, export, loaded.settings))
        })
        .map_err(anyhow::Error::from)
        .and_then(|(runtime, export, settings)| {
            let outcome = runtime.block_on(measurement(settings, terminal));
            if let Some(export) = export {
                export.finish();
            }
            outcome
        });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal.say(&format!("ragq: {error:#}"));
            let of_app = error.downcast_ref::<AppError>().map(serve::exit_of);
            of_app.or_else(|| error.downcast_ref().map(CliError::exit)).unwrap_or(Exit::Failed).into()
        }
    }
}

fn caller(settings: &Settings, terminal: Terminal) -> Result<Caller, CliError> {
    let client = Client::new(Connection::of(settings.clone()))?;
    Ok(Caller { client, terminal, json: true })
}

/// Prints the one line.
fn print(terminal: Terminal, report: &impl Serialize) -> std::io::Result<()> {
    terminal.line(&serde_json::to_string(report)?)
}

/// How a run ends that lost or doubled nothing, or did.
const fn exit_of(lost: u64, duplicated: u64, failed: u64) -> Exit {
    match (lost, duplicated, failed) {
        (0, 0, 0) => Exit::Done,
        (0, 0, _) => Exit::PartlyFailed,
        (_, _, _) => Exit::Failed,
    }
}
