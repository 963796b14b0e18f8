//! `ragq ask`: submits a question, shows the answer as it is made, then what it cites.
//!
//! Standard output gets the answer and nothing else. On a terminal it is shown as it is made; when a
//! worker starts anew, so does the answer. Into a pipe only the finished answer is written: a piece that
//! is void later could not be taken back there.

use std::{io, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use ulid::Ulid;

use super::{
    Caller,
    args::AskArgs,
    client::{
        Client, ClientError, Reply,
        follow::{Followed, Follower},
        patience::Patience,
        wire::{Answer, Citation, Event, Job, Question},
    },
    error::CliError,
    exit::Exit,
    terminal::{Terminal, short},
};
use crate::domain::{
    clock::{Clock as _, SystemClock, Timestamp},
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
/// Characters of a citation's text that are shown.
const QUOTE: usize = 160;

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
    let mut display = Display { terminal: options.terminal, live: false, shown: String::new(), attempt: 0 };
    if options.stream && !options.json {
        display.live = options.terminal.stdout;
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
            Followed::Lost { reason } => display.terminal.note(&format!("{reason}: reading on")),
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

/// Prints an answer with its citations.
pub(super) fn print_answer(terminal: Terminal, answer: &Answer) -> io::Result<()> {
    terminal.line(answer.answer.trim_end())?;
    print_citations(terminal, answer)
}

fn print_citations(terminal: Terminal, answer: &Answer) -> io::Result<()> {
    if answer.retrieval.degraded {
        terminal.say("ragq: the passages were found with a part of the retrieval left out");
    }
    if !answer.citations.is_empty() {
        terminal.line("")?;
    }
    answer.citations.iter().try_for_each(|citation| terminal.line(&cite(citation)))
}

fn cite(citation: &Citation) -> String {
    let source = citation.source.as_ref().map_or_else(String::new, |source| format!(" — {source}"));
    format!(
        "[{}] {}{source} (chunk {})\n    “{}”",
        citation.index,
        citation.title,
        citation.chunk,
        short(&citation.text, QUOTE)
    )
}

/// What a person sees of one question.
struct Display {
    terminal: Terminal,
    /// Whether the answer is shown as it is made.
    live: bool,
    /// What is shown of it.
    shown: String,
    attempt: u32,
}

impl Display {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event.name.as_str() {
            "started" => self.started(event.attempt)?,
            "delta" if self.live => {
                let text = event.text("text");
                self.shown.push_str(text);
                self.terminal.piece(text)?;
            }
            "deferred" => self.put_back("waiting", event)?,
            "retrying" => self.put_back("retrying", event)?,
            "replayed" => self.terminal.note("replayed"),
            // The rest is seen by what follows from it.
            _ => {}
        }
        Ok(())
    }

    /// What was shown of the answer before is void.
    fn started(&mut self, attempt: u32) -> io::Result<()> {
        if !self.shown.is_empty() {
            self.break_line()?;
            self.terminal.note(&format!("attempt {attempt}: the answer starts anew"));
        } else if self.attempt > 0 {
            self.terminal.note(&format!("attempt {attempt}"));
        }
        self.attempt = attempt;
        self.shown.clear();
        Ok(())
    }

    fn put_back(&mut self, what: &str, event: &Event) -> io::Result<()> {
        self.break_line()?;
        let when = event.time("retry_at").map_or_else(String::new, |at| format!(" {}", in_time(at)));
        self.terminal.note(&format!("{what}{when} because {}", because(event)));
        Ok(())
    }

    fn position(&self, position: Option<u64>) {
        match position {
            Some(0) => self.terminal.note("queued, next to be taken"),
            Some(position) => self.terminal.note(&format!("queued, {position} before it")),
            None => {}
        }
    }

    /// Ends a line that was begun, so that a note does not run into it.
    fn break_line(&mut self) -> io::Result<()> {
        if !self.shown.is_empty() && !self.shown.ends_with('\n') {
            self.shown.push('\n');
            self.terminal.piece("\n")?;
        }
        Ok(())
    }

    fn finish(&mut self, answer: &Answer) -> io::Result<()> {
        if self.shown.is_empty() || self.shown.trim_end() != answer.answer.trim_end() {
            // Nothing was shown, or not what is stored, which is what counts.
            if !self.shown.is_empty() {
                self.break_line()?;
                self.terminal.note("the answer as it is stored:");
            }
            return print_answer(self.terminal, answer);
        }
        self.break_line()?;
        print_citations(self.terminal, answer)
    }
}

fn because(event: &Event) -> &str {
    let message = event.text("message");
    if message.is_empty() { event.text("code") } else { message }
}

fn state_of(job: &Job) -> String {
    match (&job.error, job.position) {
        (Some(error), _) if !job.is(Status::Running) => {
            let when = error.retry_at.map_or_else(String::new, |at| format!(", goes on {}", in_time(at)));
            format!("{}{when}: {}", job.status, error.message)
        }
        (_, Some(position)) => format!("{}, {position} before it", job.status),
        (_, None) => job.status.clone(),
    }
}

fn in_time(at: Timestamp) -> String {
    format!("in {}", seconds(at.since(SystemClock.now())))
}

fn seconds(wait: Duration) -> String {
    format!("{} s", wait.as_millis().div_ceil(1000))
}
