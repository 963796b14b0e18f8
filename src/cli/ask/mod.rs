//! `ragq ask`: submits a question, shows the answer as it is made, then what it cites.
//!
//! Standard output gets the answer and nothing else. On a terminal it is shown as it is made; when a
//! worker starts anew, so does the answer. Into a pipe only the finished answer is written: a piece that
//! is void later could not be taken back there.

mod display;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use ulid::Ulid;

use display::{Display, seconds, state_of};

pub(super) use display::print_answer;

use super::{
    Caller,
    args::AskArgs,
    client::{
        Client, ClientError, Reply,
        follow::{Followed, Follower},
        patience::Patience,
        wire::{Answer, Job, Question},
    },
    error::CliError,
    exit::Exit,
    terminal::Terminal,
};
use crate::domain::{
    clock::{Clock as _, SystemClock},
    job::Status,
};

/// Longest wait for the question to be accepted.
const ACCEPTANCE: Duration = Duration::from_mins(2);
/// How long one poll lets the API wait.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Shortest time between two polls, should the API not wait.
const SHORTEST_POLL: Duration = Duration::from_millis(250);
/// How often the position in the queue is asked for until the job is started.
const POSITION: Duration = Duration::from_secs(2);
/// How long the API may be away while an answer is waited for.
const AWAY: Duration = Duration::from_mins(2);

/// How a question is asked and its answer shown.
#[derive(Clone, Debug)]
pub struct AskOptions {
    /// Only in this collection.
    pub collection: Option<String>,
    /// The conversation it belongs to.
    pub conversation: Option<String>,
    /// How many passages.
    pub top_k: Option<usize>,
    /// Whether the answer is shown as it is made, where that can be done.
    pub stream: bool,
    /// Whether the job is printed as JSON instead.
    pub json: bool,
    /// Where to.
    pub terminal: Terminal,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// Its job is dead.
    Dead,
    /// Its job was called off.
    Cancelled,
}

impl Outcome {
    /// The exit code it ends a command with.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Answered => Exit::Done,
            Self::Dead | Self::Cancelled => Exit::Failed,
        }
    }
}

pub(super) async fn run(caller: Caller, args: &AskArgs) -> Result<Exit, CliError> {
    let options = AskOptions {
        collection: args.collection.clone(),
        conversation: args.conversation.clone(),
        top_k: args.top_k,
        stream: !args.no_stream,
        json: caller.json,
        terminal: caller.terminal,
    };
    let job = submit(&caller.client, &args.question, &options).await?;
    tokio::select! {
        outcome = wait_and_print(&caller.client, &job, &options) => Ok(outcome?.exit()),
        _ = tokio::signal::ctrl_c() => {
            caller.terminal.say(&format!("\nThe question goes on without you: ragq jobs show {job}"));
            Ok(Exit::Interrupted)
        }
    }
}

/// Asks and prints the answer with its citations; an answer that can't be had is said on standard error.
pub async fn ask_and_print(client: &Client, question: &str, options: &AskOptions) -> Result<Outcome, CliError> {
    let job = submit(client, question, options).await?;
    wait_and_print(client, &job, options).await
}

/// Submits the question; sending it again under its key can't make a second job.
async fn submit(client: &Client, question: &str, options: &AskOptions) -> Result<String, CliError> {
    let question = Question {
        query: question.to_owned(),
        collection: options.collection.clone(),
        conversation_id: options.conversation.clone(),
        top_k: options.top_k,
    };
    let key = Ulid::from_parts(SystemClock.now().0.max(0) as u64, rand::random()).to_string();
    let tell = |why: &str, wait: Duration| {
        options.terminal.note(&format!("{why}: trying again in {}", seconds(wait)));
    };
    let mut patience = Patience::new(ACCEPTANCE, &tell);
    loop {
        match client.ask(&question, &key).await {
            Ok(reply) => return Ok(reply.body.job_id),
            Err(error) => patience.endure(error).await?,
        }
    }
}

async fn wait_and_print(client: &Client, job: &str, options: &AskOptions) -> Result<Outcome, CliError> {
    let mut display = Display::new(options.terminal);
    if options.stream && !options.json {
        display.show_as_it_comes();
        follow(client, job, &mut display).await?;
    }
    let reply = poll(client, job, options.terminal).await?;
    finish(client, &reply, &mut display, options)
}

/// Reads the events to their end, as far as there are any to be had.
async fn follow(client: &Client, job: &str, display: &mut Display) -> Result<(), CliError> {
    let mut log = Follower::new(client, job);
    let mut ticks = interval_at(Instant::now() + POSITION, POSITION);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = true;
    let mut position = None;
    loop {
        let next = log.next();
        tokio::pin!(next);
        let followed = loop {
            tokio::select! {
                followed = &mut next => break followed?,
                _ = ticks.tick(), if waiting => {
                    // Only to be shown: whether it works does not matter.
                    if let Ok(reply) = client.job(job, Duration::ZERO).await
                        && reply.body.position != position
                    {
                        position = reply.body.position;
                        display.position(position);
                    }
                }
            }
        };
        match followed {
            Followed::Event(event) => {
                waiting = !matches!(event.name.as_str(), "started" | "passages" | "delta");
                display.event(&event)?;
                if event.is_final() {
                    return Ok(());
                }
            }
            Followed::Lost { reason } => display.note(&format!("{reason}: reading on")),
            Followed::Ended | Followed::Unavailable => return Ok(()),
        }
    }
}

/// Asks for the job until it is final.
pub(super) async fn poll(client: &Client, job: &str, terminal: Terminal) -> Result<Reply<Job>, CliError> {
    let tell = |why: &str, _: Duration| terminal.note(&format!("{why}: asking again"));
    let patience = || Patience::new(AWAY, &tell).outlasting_restarts(true);
    let (mut told, mut left) = (String::new(), patience());
    loop {
        let begun = Instant::now();
        let reply = match client.job(job, LONG_POLL).await {
            Ok(reply) => reply,
            Err(error) => {
                left.endure(error).await?;
                continue;
            }
        };
        if reply.body.is_final() {
            return Ok(reply);
        }
        left = patience();
        let state = state_of(&reply.body);
        if state != told {
            terminal.note(&state);
            told = state;
        }
        sleep(SHORTEST_POLL.saturating_sub(begun.elapsed())).await;
    }
}

fn finish(
    client: &Client,
    reply: &Reply<Job>,
    display: &mut Display,
    options: &AskOptions,
) -> Result<Outcome, CliError> {
    let job = &reply.body;
    let outcome = match job.status.parse() {
        Ok(Status::Completed) => Outcome::Answered,
        Ok(Status::Cancelled) => Outcome::Cancelled,
        _ => Outcome::Dead,
    };
    if options.json {
        options.terminal.line(&reply.raw)?;
        return Ok(outcome);
    }
    match outcome {
        Outcome::Answered => {
            let answer = answer_of(job).ok_or_else(|| {
                CliError::Client(ClientError::Garbled {
                    url: client.url().to_owned(),
                    reason: "a completed question has no answer".to_owned(),
                })
            })?;
            display.finish(&answer)?;
        }
        Outcome::Cancelled => {
            display.break_line()?;
            options.terminal.say(&format!("ragq: {} was cancelled", job.job_id));
        }
        Outcome::Dead => {
            display.break_line()?;
            let why =
                job.error.as_ref().map_or_else(String::new, |error| format!(": {} ({})", error.message, error.code));
            options.terminal.say(&format!("ragq: {} is dead{why}", job.job_id));
        }
    }
    Ok(outcome)
}

/// The answer in a job's result, if it has one.
pub(super) fn answer_of(job: &Job) -> Option<Answer> {
    job.result.as_ref().and_then(|result| serde_json::from_value(result.clone()).ok())
}
