//! Orders over many jobs or letters: asked about first, carried out in steps, told of where they break off.

use serde_json::{Value, json};

use super::{
    Caller,
    client::{ClientError, Reply},
    error::CliError,
};

/// As many are done by one request: seconds of work, so that it can be told how far it got and be stopped, and no proxy
/// on the way loses patience.
const STEP: u64 = 20_000;

/// In answers about dead letters, and in what is ordered after them: only those that had died by then.
const DEAD_BY: &str = "dead_by";

/// What a request of an order is for.
enum Means {
    /// To see how many match.
    Look,
    /// To have it done, to what had died by then if that matters.
    Do { dead_by: Option<Value> },
}

/// An order over all that match.
pub(super) struct Order {
    /// The route that carries it out.
    pub path: &'static str,
    /// Which are meant, as members of the request.
    pub which: Vec<(&'static str, Value)>,
    /// What a person is asked first, about so many.
    pub question: fn(u64) -> String,
    /// What becomes of them, as the answer calls it.
    pub done: &'static str,
    /// No more than so many.
    pub limit: Option<u64>,
    /// Only say how many match.
    pub dry_run: bool,
    /// Do not ask first.
    pub yes: bool,
}

impl Order {
    /// Gives it. None: the person at the terminal did not want it.
    pub async fn give(&self, caller: &Caller) -> Result<Option<Reply<Value>>, CliError> {
        if self.dry_run {
            return Ok(Some(self.ask(caller, self.limit, Means::Look).await?));
        }
        // What the first answer says of the instant holds for all: nobody agreed to what came later.
        let mut dead_by = None;
        if !self.yes && caller.is_watched() {
            let found = self.ask(caller, self.limit, Means::Look).await?;
            dead_by = found.body.get(DEAD_BY).cloned();
            if !caller.terminal.confirmed(&(self.question)(number(&found.body, "matched")))? {
                caller.terminal.say(&format!("nothing was {}", self.done));
                return Ok(None);
            }
        }
        let (mut matched, mut done) = (0, 0);
        loop {
            let step = self.limit.map_or(STEP, |limit| STEP.min(limit - matched));
            let answer = match self.ask(caller, Some(step), Means::Do { dead_by: dead_by.clone() }).await {
                Ok(reply) => reply.body,
                Err(error) => {
                    self.told_before_failing(caller, done, &error);
                    return Err(error.into());
                }
            };
            dead_by = dead_by.or_else(|| answer.get(DEAD_BY).cloned());
            matched += number(&answer, "matched").min(step);
            done += number(&answer, self.done);
            if number(&answer, "matched") < step || self.limit == Some(matched) {
                break;
            }
            caller.terminal.say(&format!("{done} {} so far", self.done));
        }
        let body = json!({ "matched": matched, self.done: done });
        Ok(Some(Reply { raw: body.to_string(), body }))
    }

    async fn ask(&self, caller: &Caller, limit: Option<u64>, means: Means) -> Result<Reply<Value>, ClientError> {
        let limit = limit.map(|limit| ("limit", json!(limit)));
        let how = match means {
            Means::Look => Some(("dry_run", json!(true))),
            Means::Do { dead_by } => dead_by.map(|instant| (DEAD_BY, instant)),
        };
        let members = self.which.iter().cloned().chain(limit).chain(how);
        let body: Value = members.map(|(name, value)| (name.to_owned(), value)).collect();
        caller.client.admin_order(self.path, &body).await
    }

    /// Says what is done for good although the command fails.
    fn told_before_failing(&self, caller: &Caller, done: u64, error: &ClientError) {
        let done = match error {
            ClientError::Refused(problem) => done + problem.done,
            ClientError::Interrupted { .. } => {
                caller
                    .terminal
                    .say("what the API was last asked for goes on: `ragq queue audit` will say how it ended");
                done
            }
            ClientError::Unreachable { .. } | ClientError::Garbled { .. } | ClientError::Setup(_) => done,
        };
        if done > 0 {
            caller.terminal.say(&format!("{done} {} before it failed", self.done));
        }
    }
}

/// What became of them, in words.
pub(super) fn describe(answer: &Value, done: &str) -> String {
    format!("{} match, {} {done}", number(answer, "matched"), number(answer, done))
}

/// A count in an answer; one that is not there is 0.
pub(super) fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}
