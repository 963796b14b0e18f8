//! What came of taking in documents.

use std::io;

use serde_json::json;

use crate::cli::{client::ClientError, exit::Exit, terminal::Terminal};

/// A file that was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFailure {
    /// The file as its document is called, or as it was given.
    pub name: String,
    /// Why.
    pub reason: String,
    /// The stable word for it, if there is one.
    pub code: Option<String>,
    /// Its job, if it got that far.
    pub job_id: Option<String>,
}

/// What was passed over in folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Hidden files and folders.
    pub hidden: usize,
    /// Files of formats that are not read.
    pub unsupported: usize,
    /// Links to folders, which may lead in circles, and what is no file at all.
    pub special: usize,
}

impl Skipped {
    const fn total(self) -> usize {
        self.hidden + self.unsupported + self.special
    }
}

/// What came of all of them.
#[derive(Debug, Default)]
pub struct Summary {
    /// Documents that are new or changed and can now be found.
    pub ingested: usize,
    /// Documents that were there with the same content.
    pub unchanged: usize,
    /// Documents that are accepted, but whose end was not waited for.
    pub pending: usize,
    /// Files that were not taken in.
    pub failures: Vec<FileFailure>,
    /// Files that were not sent, because of `error`.
    pub not_sent: usize,
    /// What was passed over.
    pub skipped: Skipped,
    /// What ended it early.
    pub error: Option<ClientError>,
}

impl Summary {
    /// How many documents are in, or will be.
    pub fn succeeded(&self) -> usize {
        self.ingested + self.unchanged + self.pending
    }

    /// The exit code it ends a command with; finding nothing to take in is a failure.
    pub fn exit(&self) -> Exit {
        match &self.error {
            Some(error) => error.exit(),
            None if self.succeeded() == 0 => Exit::Failed,
            None => Exit::of_counts(self.succeeded(), self.failures.len()),
        }
    }

    /// Adds another one to it.
    pub fn add(&mut self, other: Self) {
        self.ingested += other.ingested;
        self.unchanged += other.unchanged;
        self.pending += other.pending;
        self.failures.extend(other.failures);
        self.not_sent += other.not_sent;
        self.skipped.hidden += other.skipped.hidden;
        self.skipped.unsupported += other.skipped.unsupported;
        self.skipped.special += other.skipped.special;
        self.error = self.error.take().or(other.error);
    }

    /// What came of it, on one line.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        part(self.ingested, "ingested");
        part(self.unchanged, "unchanged");
        part(self.pending, "accepted");
        part(self.failures.len(), "failed");
        part(self.not_sent, "not sent");
        let skipped = [
            (self.skipped.hidden, "hidden"),
            (self.skipped.unsupported, "of other formats"),
            (self.skipped.special, "links or no files"),
        ];
        let kinds: Vec<String> =
            skipped.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if kinds.is_empty() {
            if parts.is_empty() { "nothing to take in".to_owned() } else { parts.join(", ") }
        } else {
            if parts.is_empty() {
                parts.push("nothing to take in".to_owned());
            }
            format!("{} (skipped: {})", parts.join(", "), kinds.join(", "))
        }
    }

    /// Prints every failure to standard error and the line to standard output, or all of it as JSON.
    pub fn print(&self, terminal: Terminal, as_json: bool) -> io::Result<()> {
        for failure in &self.failures {
            let code = failure.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
            terminal.say(&format!("{}: {}{code}", failure.name, failure.reason));
        }
        if let Some(error) = &self.error {
            terminal.error(error);
        }
        if !as_json {
            return terminal.line(&self.line());
        }
        let failed: Vec<_> = self.failures.iter().map(FileFailure::to_json).collect();
        let summary = json!({
            "ingested": self.ingested,
            "unchanged": self.unchanged,
            "accepted": self.pending,
            "not_sent": self.not_sent,
            "failed": failed,
            "skipped": {
                "total": self.skipped.total(),
                "hidden": self.skipped.hidden,
                "unsupported": self.skipped.unsupported,
                "special": self.skipped.special,
            },
            "error": self.error.as_ref().map(ToString::to_string),
        });
        terminal.line(&summary.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_all_some_and_none_apart() {
        let failure = || vec![FileFailure::new("a.md", "no")];
        assert_eq!(Summary { ingested: 1, ..Summary::default() }.exit(), Exit::Done);
        assert_eq!(Summary { unchanged: 1, failures: failure(), ..Summary::default() }.exit(), Exit::PartlyFailed);
        assert_eq!(Summary { failures: failure(), ..Summary::default() }.exit(), Exit::Failed);
        assert_eq!(Summary::default().exit(), Exit::Failed);
    }

    #[test]
    fn the_line_leaves_out_what_did_not_happen() {
        let skipped = Skipped { hidden: 1, unsupported: 2, special: 0 };
        let summary = Summary { ingested: 3, skipped, ..Summary::default() };
        assert_eq!(summary.line(), "3 ingested (skipped: 1 hidden, 2 of other formats)");
        assert_eq!(Summary::default().line(), "nothing to take in");
    }
}
