//! From uploaded bytes to normalised text and chunks.
//!
//! Uploads are hostile until proved otherwise: [`accept`] refuses by name and first look what can't be
//! read, without parsing, and [`Extractor`] parses in a child process of the same program under limits of
//! time, memory and output, so that no document can take the worker with it. A thread would not do: it
//! can't be stopped, and a stack overflow or a failed allocation ends the whole process.
//!
//! What the text is used for is left to others: this module knows no index, no store and no model.

mod blocks;
mod child;
mod chunk;
mod decode;
mod docx;
mod html;
mod layout;
mod markdown;
mod pdf;
mod process;
mod protocol;
mod sniff;

use std::{path::PathBuf, time::Duration};

pub use child::child_main;
pub use sniff::accept;

use crate::domain::{
    document::{Chunk, Format},
    failure::Failure,
};

/// The hidden subcommand under which a program that uses [`Extractor`] must call [`child_main`].
pub const SUBCOMMAND: &str = "__extract";

/// Reads documents, each in a child process of its own.
#[derive(Clone, Debug)]
pub struct Extractor {
    /// The program to run with [`SUBCOMMAND`]: this one. `/proc/self/exe` holds also when the file was replaced.
    pub program: PathBuf,
    /// Longest time for one document.
    pub timeout: Duration,
    /// Most memory for one document, in bytes.
    pub memory_bytes: u64,
    /// Largest text taken out of one document, in bytes.
    pub max_text_bytes: u64,
    /// Aimed size of a chunk, in characters; a chunk is never larger than twice that.
    pub chunk_chars: usize,
}

/// What was read out of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Extracted {
    /// The document's own title: its first top heading, else what it names as its title.
    pub title: Option<String>,
    /// The normalised text: UTF-8 without a byte order mark, lines ended by `\n`, no control characters.
    pub text: String,
    /// The chunks, in order; each is the `text` from its `start` to its `end`.
    pub chunks: Vec<Chunk>,
}

impl Extractor {
    /// Reads one document; `title_hint` is the name it came under, which is never taken for its own title.
    ///
    /// Fails with one of the `Document…` and `Parser…` codes, never with document text in the message.
    /// Dropping the future ends the child.
    pub async fn extract(&self, format: Format, bytes: Vec<u8>, title_hint: &str) -> Result<Extracted, Failure> {
        sniff::check(format, &bytes)?;
        let request = protocol::Request::new(self, format, title_hint);
        let outcome = process::run(self, &request, bytes).await?;
        let max_text_bytes = self.max_text_bytes;
        // Large answers take tens of milliseconds to take apart: not on a thread that drives others.
        tokio::task::spawn_blocking(move || process::judge(outcome, max_text_bytes))
            .await
            .map_err(|error| process::unavailable("the parser's answer could not be read").with_source(error))?
    }
}
