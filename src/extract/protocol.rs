//! What parent and child say to each other: one line of JSON, then raw bytes, in both directions.
//!
//! The text travels raw behind the line: as a JSON string it would double in size and be copied once more.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Extractor;
use crate::domain::{document::Format, failure::Code};

/// Longest first line of a request: holds a few numbers and a name.
const MAX_REQUEST_LINE: u64 = 64 * 1024;

/// What the child is to do; the document's bytes follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub format: Format,
    pub title_hint: String,
    pub timeout_ms: u64,
    pub memory_bytes: u64,
    pub max_text_bytes: u64,
    pub chunk_chars: usize,
}

/// What the child found; the text follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The document was read.
    Read { title: Option<String>, text_bytes: usize, chunks: Vec<Span> },
    /// The document was refused.
    Refused { code: Code, message: String },
}

/// A chunk without its text, which is cut out of the whole by the parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    pub headings: Vec<String>,
}

impl Request {
    pub fn new(extractor: &Extractor, format: Format, title_hint: &str) -> Self {
        Self {
            format,
            title_hint: title_hint.chars().take(1_000).collect(),
            timeout_ms: u64::try_from(extractor.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: extractor.memory_bytes,
            max_text_bytes: extractor.max_text_bytes,
            chunk_chars: extractor.chunk_chars,
        }
    }
}

/// One message's first line, its end included.
pub(super) fn line<T: Serialize>(message: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Splits what was received into the message of its first line and what follows.
pub(super) fn parse<T: DeserializeOwned>(received: &[u8]) -> Option<(T, usize)> {
    let end = received.iter().position(|byte| *byte == b'\n')?;
    serde_json::from_slice(&received[..end]).ok().map(|message| (message, end + 1))
}

/// Reads the request's line and nothing of the document behind it.
pub(super) fn read_request(input: impl BufRead) -> io::Result<Request> {
    let mut line = Vec::new();
    input.take(MAX_REQUEST_LINE).read_until(b'\n', &mut line)?;
    serde_json::from_slice(&line).map_err(io::Error::from)
}

/// Writes the whole answer.
pub(super) fn write_reply(output: &mut impl Write, reply: &Reply, text: &str) -> io::Result<()> {
    output.write_all(&line(reply)?)?;
    output.write_all(text.as_bytes())?;
    output.flush()
}
