//! `ragq provider-sim`: a model provider for drills that costs nothing, `OpenAI`-compatible over real HTTP.
//!
//! Latency, length of answers, hard limits and faults are set on the command line and can be changed while it runs.
//! It counts what it was asked, so that a drill can compare. Answers say nothing, but cite their first passage.
//!
//! | file | owns |
//! |---|---|
//! | `args`, `plan`, `fault` | how it behaves, and how that is written |
//! | `limits` | requests and tokens a minute |
//! | `sim`, `stats` | its state, a call's way through it, what is counted |
//! | `routes` | HTTP |
//! | `speech`, `vectors`, `reply` | streamed answers, embeddings, everything else that is said |

use std::{pin::pin, process::ExitCode, sync::Arc, time::Duration};

pub mod args;
pub mod fault;

mod limits;
mod plan;
mod reply;
mod routes;
mod sim;
mod speech;
mod stats;
mod vectors;

use super::{
    Environment, descriptors,
    error::CliError,
    exit::Exit,
    serve::{StopSignals, bind, reachable},
    terminal::Terminal,
};
use crate::api::serve::serve;
use args::ProviderSimArgs;
use plan::Plan;
use sim::Sim;

/// Longest wait for a request's head, also between the requests of one connection.
const HEAD: Duration = Duration::from_mins(5);

/// Runs the provider until it is told to stop.
pub(super) fn run(mut args: ProviderSimArgs, environment: &Environment) -> ExitCode {
    let terminal = Terminal::detect(environment);
    let listen = std::mem::take(&mut args.listen);
    descriptors::lift();
    let plan = args.plan().map_err(CliError::Usage);
    let outcome = plan
        .and_then(|plan| Ok((plan, super::runtime()?)))
        .map_err(anyhow::Error::from)
        .and_then(|(plan, runtime)| runtime.block_on(simulate(&listen, plan, terminal)));
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal.say(&format!("ragq: {error:#}"));
            error.downcast_ref().map_or(Exit::Failed, CliError::exit).into()
        }
    }
}

/// One thread serves all: many times what a drill asks for, and the others stay free for what is drilled.
async fn simulate(listen: &str, plan: Plan, terminal: Terminal) -> anyhow::Result<Exit> {
    let mut stop = StopSignals::new()?;
    let listener = bind(listen).await?;
    let address = reachable(listener.local_addr()?);
    let sim = Arc::new(Sim::new(plan)?);
    let mut serving = pin!(serve(listener, routes::routes(Arc::clone(&sim)), HEAD, sim.stop.clone()));
    let version = env!("CARGO_PKG_VERSION");
    terminal.line(&format!("ragq provider-sim {version} is ready at http://{address}/v1"))?;
    tokio::select! {
        () = &mut serving => return Ok(Exit::Failed),
        () = stop.next() => sim.stop.cancel(),
    }
    // Answers under way are said to their end; whoever does not want to wait for them asks twice.
    tokio::select! {
        () = serving => Ok(Exit::Done),
        () = stop.next() => Ok(Exit::Interrupted),
    }
}
