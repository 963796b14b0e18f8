//! A streamed answer: tokens at their pace, then the end, or what a fault makes of it.
//!
//! All tokens that are due are sent in one piece, so that many fast streams cost little.

use std::{io, time::Duration};

use axum::body::Bytes;
use futures::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::{
    fault::{Fault, Happening},
    reply::broken,
    sim::Call,
};

/// The answer's tokens, over and over: four characters each, which is what a token is estimated at, and at the
/// end of each round the first passage is cited.
const WORDS: [&str; 12] =
    ["You ", "can ", "see ", "how ", "the ", "sea ", "may ", "run ", "all ", "day ", "now ", "[1] "];

/// So many tokens are sent in one piece at most.
const PIECE: u32 = 256;

/// The text of an answer of so many tokens; it always ends with a citation.
pub(super) fn text(tokens: u32) -> String {
    (0..tokens).map(|nth| word(nth, tokens)).collect()
}

fn word(nth: u32, of: u32) -> &'static str {
    let last = nth + 1 == of;
    let place = if last { WORDS.len() - 1 } else { nth as usize % WORDS.len() };
    WORDS.get(place).copied().unwrap_or_default()
}

/// What an answer is made of.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The beginning of each event up to the choices, with id, time and model.
    pub(super) head: String,
    /// How many tokens.
    pub(super) tokens: u32,
    /// Why it ends there.
    pub(super) finish: &'static str,
    /// The usage in JSON, if it was asked for.
    pub(super) usage: Option<String>,
}

struct Speech {
    call: Call,
    answer: Answer,
    fault: Option<Fault>,
    said: u32,
    /// When the first token is due.
    begin: Instant,
    over: bool,
}

/// The events of an answer whose first token is due now.
pub(super) fn stream(call: Call, answer: Answer, fault: Option<Fault>) -> impl Stream<Item = io::Result<Bytes>> {
    let speech = Speech { call, answer, fault, said: 0, begin: Instant::now(), over: false };
    stream::unfold(speech, |mut speech| async move { speech.next().await.map(|piece| (piece, speech)) })
}

impl Speech {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        let until = self.fault.as_ref().map_or(self.answer.tokens, |fault| fault.after.min(self.answer.tokens));
        if let Some(fault) = self.fault.as_ref().filter(|_| self.said >= until) {
            self.over = true;
            if fault.happening == Happening::Garbage {
                self.call.over();
                return Some(Ok(Bytes::from_static(b"data: {\"choices\":[{]}\n\n")));
            }
            broken(&mut self.call, fault.happening).await;
            return Some(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        sleep_until(self.due(self.said)).await;
        let mut piece = String::new();
        if self.said == 0 {
            self.event(&mut piece, r#"{"role":"assistant","content":""}"#, "null");
        }
        let before = self.said;
        let now = Instant::now();
        while self.said < until && self.said - before < PIECE && self.due(self.said) <= now {
            let word = word(self.said, self.answer.tokens);
            self.event(&mut piece, &format!(r#"{{"content":"{word}"}}"#), "null");
            self.said += 1;
        }
        self.call.said(u64::from(self.said - before));
        if self.said == self.answer.tokens && self.fault.is_none() {
            self.end(&mut piece);
        }
        Some(Ok(piece.into()))
    }

    fn due(&self, token: u32) -> Instant {
        self.begin + Duration::from_millis(self.call.plan.token_ms) * token
    }

    fn event(&self, piece: &mut String, delta: &str, finish: &str) {
        let head = &self.answer.head;
        for part in [head, r#"[{"index":0,"delta":"#, delta, r#","finish_reason":"#, finish, "}]}\n\n"] {
            piece.push_str(part);
        }
    }

    fn end(&mut self, piece: &mut String) {
        self.event(piece, "{}", &format!("\"{}\"", self.answer.finish));
        if let Some(usage) = &self.answer.usage {
            for part in [&self.answer.head, r#"[],"usage":"#, usage, "}\n\n"] {
                piece.push_str(part);
            }
        }
        piece.push_str("data: [DONE]\n\n");
        self.over = true;
        self.call.over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokens;

    #[test]
    fn an_answer_is_as_long_as_its_tokens_are_estimated_and_ends_with_a_citation() {
        for count in [1, 2, 11, 12, 13, 500] {
            let text = text(count);
            assert_eq!(tokens::estimate(&text), count as usize, "{text}");
            assert!(text.ends_with("[1] "), "{text}");
        }
    }
}
