//! How often each term counts in a chunk: what BM25 is computed from, the same in every index.
//!
//! Titles and headings say what a chunk is about, often in words that it does not repeat. They count as one
//! more word and nothing in the length: on Cranfield, whose abstracts already begin with their titles, that
//! gave 0.386 nDCG@10 against 0.382 without.

use std::collections::HashMap;

use crate::{domain::document::Chunk, text::analysis::Analyzer};

/// Counts the terms of one document's chunks.
#[derive(Debug)]
pub(super) struct Counter {
    analyzer: Analyzer,
    title: Vec<String>,
    headings: HashMap<String, Vec<String>>,
}

impl Counter {
    /// For chunks of a document with this title.
    pub(super) fn new(analyzer: Analyzer, title: &str) -> Self {
        Self { analyzer, title: stems(analyzer, title), headings: HashMap::new() }
    }

    /// The chunk's length in words, and how often each stem counts in it (255 at most).
    pub(super) fn count(&mut self, chunk: &Chunk) -> (u64, HashMap<String, u8>) {
        let mut counts: HashMap<String, u8> = HashMap::new();
        let terms = self.analyzer.terms(&chunk.text);
        let length = terms.len() as u64;
        for term in terms {
            let count = counts.entry(term.stem).or_default();
            *count = count.saturating_add(1);
        }
        for heading in &chunk.headings {
            if !self.headings.contains_key(heading) {
                self.headings.insert(heading.clone(), stems(self.analyzer, heading));
            }
        }
        let mut above: Vec<&String> = self.title.iter().collect();
        above.extend(chunk.headings.iter().filter_map(|heading| self.headings.get(heading)).flatten());
        above.sort_unstable();
        above.dedup();
        for stem in above {
            let count = counts.entry(stem.clone()).or_default();
            *count = count.saturating_add(1);
        }
        (length, counts)
    }
}

fn stems(analyzer: Analyzer, text: &str) -> Vec<String> {
    analyzer.terms(text).into_iter().map(|term| term.stem).collect()
}
