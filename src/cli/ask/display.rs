//! How an answer looks: as it is made, at its end, with what it cites.

use std::{io, time::Duration};

use crate::{
    cli::{
        client::wire::{Answer, Citation, Event, Job},
        terminal::{Terminal, short},
    },
    domain::{
        clock::{Clock as _, SystemClock, Timestamp},
        job::Status,
    },
};

/// Characters of a citation's text that are shown.
const QUOTE: usize = 160;

/// Prints an answer with its citations.
pub(in crate::cli) fn print_answer(terminal: Terminal, answer: &Answer) -> io::Result<()> {
    terminal.line(answer.answer.trim_end())?;
    print_citations(terminal, answer)
}

fn print_citations(terminal: Terminal, answer: &Answer) -> io::Result<()> {
    if answer.truncated {
        terminal.say("ragq: the answer was cut off at the model's length limit (RAGQ_MODEL__MAX_TOKENS)");
    }
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
    let Citation { index, title, chunk, .. } = citation;
    format!("[{index}] {title}{source} (chunk {chunk})\n    “{}”", excerpt(citation))
}

/// The passage's text from where the answer draws on it.
fn excerpt(Citation { text, start, support, .. }: &Citation) -> String {
    let from = support.first().map_or(0, |span| span.start.saturating_sub(*start));
    let (before, rest) = text.split_at_checked(from).unwrap_or(("", text));
    let rest = short(rest, QUOTE);
    if before.trim().is_empty() { rest } else { format!("…{rest}") }
}

/// What a person sees of one question.
pub(super) struct Display {
    terminal: Terminal,
    /// Whether the answer is shown as it is made.
    live: bool,
    /// What is shown of it.
    shown: String,
    attempt: u32,
}

impl Display {
    pub(super) fn new(terminal: Terminal) -> Self {
        Self { terminal, live: false, shown: String::new(), attempt: 0 }
    }

    /// From now on pieces are shown, if a person reads along.
    pub(super) fn show_as_it_comes(&mut self) {
        self.live = self.terminal.stdout;
    }

    pub(super) fn note(&self, text: &str) {
        self.terminal.note(text);
    }

    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
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

    pub(super) fn position(&self, position: Option<u64>) {
        match position {
            Some(0) => self.terminal.note("queued, next to be taken"),
            Some(position) => self.terminal.note(&format!("queued, {position} before it")),
            None => {}
        }
    }

    /// Ends a line that was begun, so that a note does not run into it.
    pub(super) fn break_line(&mut self) -> io::Result<()> {
        if !self.shown.is_empty() && !self.shown.ends_with('\n') {
            self.shown.push('\n');
            self.terminal.piece("\n")?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, answer: &Answer) -> io::Result<()> {
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

pub(super) fn state_of(job: &Job) -> String {
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

pub(super) fn seconds(wait: Duration) -> String {
    format!("{} s", wait.as_millis().div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_excerpt_begins_with_what_the_answer_draws_on() {
        let text = "# Leases\n\nWorkers beat. A lost lease is no failure of the job. It rises.";
        let excerpt = |support: Value| {
            let citation = json!({ "index": 1, "text": text, "start": 100, "support": support });
            excerpt(&serde_json::from_value(citation).unwrap())
        };
        assert_eq!(excerpt(json!([{ "start": 124, "end": 165 }])), "…A lost lease is no failure of the job. It rises.");
        for nothing in [json!([]), json!([{ "start": 7, "end": 9 }]), json!([{ "start": 7000, "end": 9000 }])] {
            assert_eq!(excerpt(nothing), "# Leases Workers beat. A lost lease is no failure of the job. It rises.");
        }
    }
}
