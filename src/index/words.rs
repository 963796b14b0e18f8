//! How often each term stands in a chunk: what BM25 is computed from, the same in every index.
//!
//! Titles and headings say what a chunk is about, often in words that it does not repeat. So a chunk is read as if
//! they stood above it: their words count, and make it longer, as the words of the text do. That is how BM25 is
//! measured on collections with titles and leaves no weight to be chosen.

use std::collections::HashMap;

use crate::{domain::document::Chunk, text::analysis::Analyzer};

/// Counts the terms of one document's chunks.
#[derive(Debug)]
pub(super) struct Counter {
    analyzer: Analyzer,
    title: String,
    /// The terms of the title and the headings met so far.
    lines: HashMap<String, Vec<String>>,
}

impl Counter {
    /// For chunks of a document with this title.
    pub(super) fn new(analyzer: Analyzer, title: &str) -> Self {
        Self { analyzer, title: title.to_owned(), lines: HashMap::new() }
    }

    /// The chunk's length in words, and how often each stem stands in it (255 at most).
    pub(super) fn count(&mut self, chunk: &Chunk) -> (u64, HashMap<String, u8>) {
        let mut counts: HashMap<String, u8> = HashMap::new();
        let mut length = 0;
        let mut count = |stem: String| {
            length += 1;
            let count = counts.entry(stem).or_default();
            *count = count.saturating_add(1);
        };
        // A document's first heading often is its title: once is enough.
        let headings = chunk.headings.iter().filter(|heading| **heading != self.title);
        for line in std::iter::once(&self.title).chain(headings) {
            if !self.lines.contains_key(line) {
                self.lines.insert(line.clone(), stems(self.analyzer, line));
            }
            self.lines[line].iter().cloned().for_each(&mut count);
        }
        stems(self.analyzer, &chunk.text).into_iter().for_each(&mut count);
        (length, counts)
    }
}

fn stems(analyzer: Analyzer, text: &str) -> Vec<String> {
    analyzer.terms(text).into_iter().map(|term| term.stem).collect()
}
