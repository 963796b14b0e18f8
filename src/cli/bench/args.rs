//! The arguments of `ragq bench`.

use clap::{Args, Subcommand};

pub(super) use crate::cli::args::ClientArgs;

/// `ragq bench ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Submit questions to a running API and measure what accepting them takes.
    Submit(SubmitArgs),
    /// Put jobs that do nothing through the job store and the worker runtime.
    Drain(DrainArgs),
    /// Ask questions of a running deployment and wait for their answers.
    Chat(ChatArgs),
    /// A worker process of `drain`, told what to do by its parent.
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// What is measured beside the client.
#[derive(Clone, Debug, Default, Args)]
pub struct ObserveArgs {
    /// Measure the CPU time of this process of the deployment; may be given more than once
    #[arg(
        long = "pid",
        value_name = "PID",
        help = "Measure the CPU time of this process of the deployment (Linux) \
        [default: whoever listens at the API's port, if that is on this machine]"
    )]
    pub pids: Vec<u32>,
}

/// Arguments of `ragq bench submit`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Each accepted job is looked up afterwards, and called off so that no model is asked;
--keep leaves it. The CPU time of Redis is measured if REDIS_URL names it.

Examples:
  ragq bench submit --paused
  ragq bench submit --rate 500 --requests 5000 --url http://10.0.0.7:8080
  REDIS_URL=redis://localhost ragq bench submit --paused --against-redis")]
pub struct SubmitArgs {
    /// How to reach the API.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How many requests
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub requests: u64,
    /// Connections, each kept open and with one request at a time
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Send so many a second, whatever the answers take; latency then counts from when a request was due
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Length of each question
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub bytes: u32,
    /// Send each request with an Idempotency-Key of its own
    #[arg(long)]
    pub idempotency: bool,
    /// Pause questions meanwhile
    #[arg(long, help = "Pause questions meanwhile, so that only submitting is measured (needs RAGQ_ADMIN_TOKEN)")]
    pub paused: bool,
    /// Leave the jobs in the queue
    #[arg(long)]
    pub keep: bool,
    /// Also send as many bytes to Redis as plain commands, to compare with
    #[arg(long)]
    pub against_redis: bool,
    /// What is measured beside the client.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// Arguments of `ragq bench drain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The queue is one of its own, on the Redis that REDIS_URL names or else in an embedded
job store in a temporary folder; it is removed at the end.

Examples:
  ragq bench drain
  REDIS_URL=redis://localhost ragq bench drain --workers 2 --waiting 1000
  REDIS_URL=redis://localhost ragq bench drain --pickup 500 --against-redis")]
pub struct DrainArgs {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub jobs: u64,
    /// How many more are to be waiting all the time
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub waiting: u64,
    /// Worker processes
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Jobs that each takes at a time
    #[arg(long, value_name = "S", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: u32,
    /// Submits under way at a time
    #[arg(long, value_name = "C", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub submitters: u32,
    /// Length of each job's question
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub bytes: u32,
    /// Also submit so many jobs one by one to an idle worker, and time how soon each is picked up (Redis)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub pickup: u64,
    /// How long that worker is watched doing nothing afterwards
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub idle: u64,
    /// Also send as many bytes to Redis as plain commands, to compare with
    #[arg(long)]
    pub against_redis: bool,
}

/// Arguments of `ragq bench chat`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  ragq bench chat --questions 50 --connections 4
  ragq bench chat --query \"How long is an answer kept?\" --url http://10.0.0.7:8080")]
pub struct ChatArgs {
    /// How to reach the API.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How many questions
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub questions: u64,
    /// Askers, each of whom waits for the answer before asking again
    #[arg(long, value_name = "C", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// What is asked
    #[arg(long, value_name = "TEXT", default_value = "How long is an answer kept?")]
    pub query: String,
    /// What is measured beside the client.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// Arguments of a worker process of `drain`.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// Jobs that it takes at a time
    #[arg(long)]
    pub slots: u32,
    /// Whether it says of each job when it began
    #[arg(long)]
    pub stamps: bool,
    /// Pop this list of Redis instead of working, and say when something came
    #[arg(long)]
    pub ping: Option<String>,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be 0.001 to 1000000".to_owned())
}
