//! The arguments of every command, with their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{bench::args::BenchCommand, config::ConfigCommand, provider_sim::args::ProviderSimArgs};
use crate::domain::{
    failure::Code,
    job::{DeadReason, Kind, Status},
};

const EXAMPLES: &str = "\
Examples:
  ragq up --docs docs --ask \"What happens to a job when its worker dies?\"
  ragq ingest handbook notes.pdf
  ragq ask \"How long is an answer kept?\"
  ragq dlq list --code context_too_long

Clients find the API by RAGQ_URL (default http://127.0.0.1:8080) and show
RAGQ_API_KEY; the operator's commands show RAGQ_ADMIN_TOKEN. A file can hold each
secret: RAGQ_API_KEY_FILE, RAGQ_ADMIN_TOKEN_FILE.
`ragq config docs` explains all settings.

Exit codes: 0 done, 1 failed, 2 partly failed, 64 bad usage or configuration,
69 a dependency is down.";

/// Answers questions over a team's documents through a durable queue.
#[derive(Debug, Parser)]
#[command(name = "ragq", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: API, worker, web page, embedded stores.
    Up(UpArgs),
    /// Run the API alone, on Redis and Qdrant.
    Api(ApiArgs),
    /// Run a worker alone, on Redis and Qdrant.
    Worker(WorkerArgs),
    /// Take in files, folders or standard input.
    Ingest(IngestArgs),
    /// Ask a question and print the cited answer.
    Ask(AskArgs),
    /// Look at jobs and call them off.
    Jobs {
        /// How to reach the API.
        #[command(flatten)]
        client: ClientArgs,
        /// What to do.
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Look at dead letters, replay or discard them.
    Dlq {
        /// How to reach the API.
        #[command(flatten)]
        client: ClientArgs,
        /// What to do.
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Look at the queue, pause and resume it, cancel jobs.
    Queue {
        /// How to reach the API.
        #[command(flatten)]
        client: ClientArgs,
        /// What to do.
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// Measure a deployment, or the queue by itself; prints one line of JSON.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Play a model provider for drills: latency, limits and faults at will, at no cost.
    ProviderSim(ProviderSimArgs),
    /// Show, check or document the settings.
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Probe a running API: 0 when it is ready, 1 when it is not, 69 when nothing answers.
    Health(HealthArgs),
}

/// How a client reaches the API and prints what it says.
#[derive(Clone, Debug, Default, Args)]
pub struct ClientArgs {
    /// Address of the API
    #[arg(
        long,
        value_name = "URL",
        global = true,
        help = "Address of the API [env: RAGQ_URL] [default: http://127.0.0.1:8080]"
    )]
    pub url: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Arguments of `ragq up`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  ragq up
  ragq up --docs docs --ask \"How do I cancel a question?\"
  ragq up --data /var/lib/ragq --listen 127.0.0.1:9000")]
pub struct UpArgs {
    /// Take in this file or folder once the API is up; may be given more than once
    #[arg(long, value_name = "PATH")]
    pub docs: Vec<PathBuf>,
    /// Ask this once the documents are in, and print the cited answer
    #[arg(long, value_name = "QUESTION")]
    pub ask: Option<String>,
    /// Folder of the embedded stores and the admin token
    #[arg(
        long,
        value_name = "DIR",
        help = "Folder of the embedded stores and the admin token [env: RAGQ_STORE__DATA_DIR] [default: ./data]"
    )]
    pub data: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", help = "Address to listen on [env: RAGQ_API__LISTEN] [default: 127.0.0.1:8080]")]
    pub listen: Option<String>,
}

/// Arguments of `ragq api`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  REDIS_URL=redis://redis:6379 QDRANT_URL=http://qdrant:6334 RAGQ_API__KEYS=team:KEY \\
    ragq api --listen :8080")]
pub struct ApiArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", help = "Address to listen on [env: RAGQ_API__LISTEN] [default: 127.0.0.1:8080]")]
    pub listen: Option<String>,
}

/// Arguments of `ragq worker`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  REDIS_URL=redis://redis:6379 QDRANT_URL=http://qdrant:6334 OPENAI_API_KEY=KEY \\
    ragq worker --listen :9090")]
pub struct WorkerArgs {
    /// Address for health probes and metrics
    #[arg(
        long,
        value_name = "ADDR",
        help = "Address to answer health probes on [env: RAGQ_WORKER__LISTEN] [default: none]"
    )]
    pub listen: Option<String>,
}

/// Arguments of `ragq ingest`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Folders are walked to their depths; in them, hidden files and files of other
formats are skipped and counted.
Formats: .md .markdown .txt .text .html .htm .pdf .docx

A document is called by its path below --root, so taking in a changed file again
replaces what was there.

Examples:
  ragq ingest docs
  ragq ingest --collection contracts contracts/*.pdf
  git log -20 | ragq ingest - --title \"Recent changes\"

Exit codes: 0 all taken in, 2 some failed (each is named, with the reason),
1 all failed.")]
pub struct IngestArgs {
    /// How to reach the API.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Collection to put the documents in
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Title of what comes on standard input
    #[arg(long)]
    pub title: Option<String>,
    /// Folder that documents are called relative to [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// End when everything is accepted, without waiting until it can be found
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of `ragq ask`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  ragq ask \"What is a deferral?\"
  ragq ask --collection contracts --top-k 12 \"When can we give notice?\"
  ragq ask --conversation support-4711 \"And in Austria?\"
  ragq ask --json \"How long is an answer kept?\" | jq -r .result.answer

Ctrl-C stops the waiting, not the job: look at it with `ragq jobs show ID`.")]
pub struct AskArgs {
    /// How to reach the API.
    #[command(flatten)]
    pub client: ClientArgs,
    /// The question
    pub question: String,
    /// Look in this collection only
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Go on with this conversation
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// Passages to give to the model
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Wait for the whole answer instead of printing it as it comes
    #[arg(long)]
    pub no_stream: bool,
}

/// Arguments of `ragq health`.
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// How to reach the API.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `ragq jobs ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// Show a job: its state, counters, result or error.
    Show {
        /// The job
        id: String,
    },
    /// Call a job off.
    Cancel {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Args)]
pub struct LetterFilter {
    /// Died for this reason
    #[arg(long, help = "Died for this reason: attempts_exhausted, permanent, deadline_exceeded or poison")]
    pub reason: Option<DeadReason>,
    /// Died with this code
    #[arg(long, help = "Died with this code, such as context_too_long", value_parser = parse_code)]
    pub code: Option<Code>,
    /// Of this kind: chat or ingest
    #[arg(long)]
    pub kind: Option<Kind>,
}

/// Arguments of `ragq dlq replay`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
One ID is replayed at once. Anything else becomes a job of the API, which goes on
whatever becomes of this command: Ctrl-C only ends the watching. It stops itself
when the same cause returns on half of the letters (RAGQ_REPLAY__STOP_SHARE).

Examples:
  ragq dlq replay 01J9ZC6M1V7H0Q8T3X5K2B4N6P
  ragq dlq replay 01J9ZC6M1V7H0Q8T3X5K2B4N6P --payload edited.json
  ragq dlq replay --code provider_timeout --dry-run
  ragq dlq replay --code provider_timeout --limit 100 --rate 5
  ragq dlq replay --all --yes

Exit codes: 0 all replayed, 2 it stopped itself, 1 it was called off or died.")]
pub struct ReplayArgs {
    /// These jobs, at most 1,000
    #[arg(value_name = "ID", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All that match.
    #[command(flatten)]
    pub filter: LetterFilter,
    /// Every dead letter
    #[arg(long, conflicts_with_all = ["reason", "code", "kind"])]
    pub all: bool,
    /// At most this many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// So many a second [default: as fast as they are worked on]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Only say how many match
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first
    #[arg(long, short)]
    pub yes: bool,
    /// Replay one job with the payload of this JSON file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reason", "code", "kind", "all", "limit", "rate", "dry_run"])]
    pub payload: Option<PathBuf>,
    /// End once the replay is accepted
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of `ragq dlq discard`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Many are discarded in steps of 20,000: Ctrl-C ends it after the present one.

Examples:
  ragq dlq discard 01J9ZC6M1V7H0Q8T3X5K2B4N6P
  ragq dlq discard --code deadline_exceeded --dry-run
  ragq dlq discard --reason permanent --kind ingest --yes")]
pub struct DiscardArgs {
    /// These jobs
    #[arg(value_name = "ID", conflicts_with_all = ["reason", "code", "kind", "all", "limit", "dry_run"])]
    pub ids: Vec<String>,
    /// All that match.
    #[command(flatten)]
    pub filter: LetterFilter,
    /// Every dead letter
    #[arg(long, conflicts_with_all = ["reason", "code", "kind"])]
    pub all: bool,
    /// At most this many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only say how many match
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first
    #[arg(long, short)]
    pub yes: bool,
}

/// `ragq dlq ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum DlqCommand {
    /// List dead letters, newest first, and how many share a cause.
    List {
        /// Which.
        #[command(flatten)]
        filter: LetterFilter,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one dead letter: what was to be done and every attempt at it.
    Show {
        /// The job
        id: String,
    },
    /// Put dead letters back into the queue.
    Replay(ReplayArgs),
    /// Remove dead letters for good.
    Discard(DiscardArgs),
}

/// `ragq queue ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum QueueCommand {
    /// Show the queue in figures.
    Stats,
    /// Hand out no more jobs, until resumed; running ones go on.
    Pause {
        /// Only this kind: chat or ingest; may be given more than once
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<Kind>,
    },
    /// Hand out jobs again.
    Resume {
        /// Only this kind: chat or ingest; may be given more than once
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<Kind>,
    },
    /// Show what happened in the last minutes.
    History {
        /// How far back
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
        minutes: u32,
    },
    /// Cancel all jobs that match.
    Cancel(CancelArgs),
    /// Show what operators did, newest first.
    Audit {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
}

/// Arguments of `ragq queue cancel`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Many are cancelled in steps of 20,000: Ctrl-C ends it after the present one.

Examples:
  ragq queue cancel --kind ingest --dry-run
  ragq queue cancel --kind chat --status queued --status scheduled
  ragq queue cancel --all --yes")]
pub struct CancelArgs {
    /// Of this kind: chat or ingest
    #[arg(long)]
    pub kind: Option<Kind>,
    /// In this state: queued, scheduled or running; may be given more than once
    #[arg(long = "status", value_name = "STATUS")]
    pub statuses: Vec<Status>,
    /// Everything that is not final
    #[arg(long, conflicts_with_all = ["kind", "statuses"])]
    pub all: bool,
    /// At most this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only say how many match
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first
    #[arg(long, short)]
    pub yes: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.001..=10_000.0).contains(rate))
        .ok_or_else(|| "must be 0.001 to 10000".to_owned())
}

fn parse_code(text: &str) -> Result<Code, String> {
    Code::ALL.iter().copied().find(|code| code.as_str() == text).ok_or_else(|| {
        let words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }
}
