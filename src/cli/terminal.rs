//! Where output goes: results to standard output, notes and errors to standard error, or into the log where standard
//! error takes nothing else.
//!
//! Answers, titles and error texts come from documents and models, so nothing of them may steer the
//! terminal: control characters are taken out of all that is shown to people.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use crate::config::Environment;

/// What standard output and standard error are.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Standard output is read by a person as it comes.
    pub stdout: bool,
    /// Standard error is, and takes what is for people.
    pub stderr: bool,
    colour: bool,
    /// What is said becomes a line of the log.
    logged: bool,
}

impl Terminal {
    /// Looks at the process' streams; `NO_COLOR` (see no-color.org) and `TERM=dumb` leave colours out.
    pub fn detect(environment: &Environment) -> Self {
        Self {
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            colour: environment.get("NO_COLOR").is_none() && environment.get("TERM").is_none_or(|term| term != "dumb"),
            logged: false,
        }
    }

    /// The same where standard error takes nothing but lines of the log, which has begun.
    #[must_use]
    pub fn logged(self) -> Self {
        Self { stderr: false, logged: true, ..self }
    }

    /// Prints text and a line end.
    pub fn line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(printable(text).as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Prints text as it is being made, without a line end.
    pub fn piece(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(printable(text).as_bytes())?;
        out.flush()
    }

    /// Says something about the progress; only people see it.
    pub fn note(self, text: &str) {
        if self.stderr {
            let text = printable(text);
            // What can't be said of the progress is no reason to stop.
            if self.colour {
                drop(writeln!(io::stderr(), "\x1b[2m{text}\x1b[0m"));
            } else {
                drop(writeln!(io::stderr(), "{text}"));
            }
        }
    }

    /// Says something that matters to scripts' logs too.
    pub fn say(self, text: &str) {
        if self.logged {
            tracing::info!(text = text.trim(), "notice");
        } else {
            drop(writeln!(io::stderr(), "{}", printable(text)));
        }
    }

    /// Says what the operator should look at.
    pub fn warn(self, warning: &impl Display) {
        if self.logged {
            tracing::warn!(%warning, "warning");
        } else {
            self.say(&format!("ragq: {warning}"));
        }
    }

    /// Asks something that is answered with yes or no.
    pub fn confirmed(self, question: &str) -> io::Result<bool> {
        self.say(&format!("{question} [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Says why the command failed.
    pub fn error(self, error: &impl Display) {
        if self.logged {
            tracing::error!(%error, "failed");
        } else {
            self.say(&format!("ragq: {error}"));
        }
    }
}

/// The text without control characters; line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "")) } else { Cow::Borrowed(text) }
}

/// The text on one line, at most `max` characters long.
pub fn short(text: &str, max: usize) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.chars().count() > max {
            let mut cut: String = words.chars().take(max.saturating_sub(1)).collect();
            cut.truncate(cut.trim_end().len());
            cut.push('…');
            return cut;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_not_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}1mc\td\ne\r"), "a[2Jb1mc\td\ne");
    }

    #[test]
    fn a_short_text_is_one_line_cut_at_its_length() {
        assert_eq!(short(" one\n two\tthree ", 40), "one two three");
        assert_eq!(short("äöü äöü äöü", 6), "äöü ä…");
    }
}
