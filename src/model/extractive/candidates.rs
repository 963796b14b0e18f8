//! What can be quoted: the units of every passage with their stems and what stands above them.

use std::{collections::HashSet, ops::Range};

use crate::{
    domain::answer::Passage,
    text::{
        analysis::Analyzer,
        sentences::{self, Kind},
    },
};

/// A numbered line with more words is no title.
const MAX_TITLE_WORDS: usize = 14;

/// Stems as a set.
pub(super) type Stems = HashSet<String>;

/// One unit that can be quoted.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The passage, from 0.
    pub(super) passage: usize,
    /// The unit's number within its passage.
    pub(super) unit: usize,
    /// What it is; never a heading.
    pub(super) kind: Kind,
    /// Whether it begins a paragraph or is a block of its own.
    pub(super) opens: bool,
    /// Where it is in the passage's text.
    pub(super) range: Range<usize>,
    /// Whether it is a single word or address: part of a list perhaps, never an answer.
    pub(super) fragment: bool,
    /// Its stems, in order.
    pub(super) sequence: Vec<String>,
    /// Its stems.
    pub(super) stems: Stems,
    /// The stems of what it stands below: the title, the headings, the line that introduces it.
    pub(super) above: Stems,
    /// The stems of its nearest heading.
    pub(super) heading: Stems,
    /// How many candidates stand between it and that heading.
    pub(super) depth: usize,
}

/// Every candidate of every passage, in order.
pub(super) fn candidates(passages: &[Passage], analyzer: Analyzer) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (passage, of) in passages.iter().enumerate() {
        let outer: Stems = of.headings.iter().chain([&of.title]).flat_map(|heading| stems(analyzer, heading)).collect();
        let mut heading: Stems =
            of.headings.last().map(|heading| stems(analyzer, heading).into_iter().collect()).unwrap_or_default();
        let mut depth = 0;
        let mut lead = Stems::new();
        for (unit, found) in sentences::units(&of.text).into_iter().enumerate() {
            let text = of.text.get(found.range.clone()).unwrap_or_default();
            let sequence = stems(analyzer, text);
            match found.kind {
                Kind::Heading => {
                    heading = sequence.into_iter().collect();
                    lead.clear();
                    depth = 0;
                    continue;
                }
                Kind::TableHead => {
                    lead = sequence.into_iter().collect();
                    continue;
                }
                Kind::Sentence if is_furniture(text) => continue,
                // A question that opens a paragraph, or a numbered title, is what the text below it answers.
                Kind::Sentence if found.opens && is_title(text) => {
                    heading = sequence.into_iter().collect();
                    lead.clear();
                    depth = 0;
                    continue;
                }
                Kind::Sentence => lead.clear(),
                Kind::Item | Kind::Row | Kind::Code => {}
            }
            let own: Stems = sequence.iter().cloned().collect();
            let above =
                outer.iter().chain(&heading).chain(&lead).filter(|stem| !own.contains(*stem)).cloned().collect();
            if found.kind == Kind::Sentence && text.ends_with(':') {
                lead.clone_from(&own);
            }
            all.push(Candidate {
                passage,
                unit,
                kind: found.kind,
                opens: found.opens,
                range: found.range,
                fragment: is_fragment(text),
                sequence,
                stems: own,
                above,
                heading: heading.clone(),
                depth,
            });
            depth += 1;
        }
    }
    all
}

/// Whether it heads a section without being marked as a heading: a question, or a line as "4.2.8. Leaks".
fn is_title(text: &str) -> bool {
    let after = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text.get(..text.len() - after.len()).unwrap_or_default();
    let numbered = number.trim_end_matches('.').contains('.')
        && number.starts_with(|c: char| c.is_ascii_digit())
        && after.starts_with(char::is_whitespace);
    let words = after.split_whitespace().count();
    text.ends_with('?')
        || numbered && words <= MAX_TITLE_WORDS && text.ends_with(|c: char| !matches!(c, '.' | '!' | ':' | ';'))
}

fn is_fragment(text: &str) -> bool {
    let text = text.get(sentences::bullet(text)..).unwrap_or_default().trim();
    // Scripts that set no spaces have whole sentences in what looks like a word.
    text.is_ascii() && !text.contains(char::is_whitespace)
}

/// Whether a sentence is none: badges, pictures, links alone, definitions of links, tags.
fn is_furniture(text: &str) -> bool {
    text.starts_with("[![")
        || text.starts_with("![")
        || (text.starts_with('[') && text.contains("]: "))
        || (text.starts_with('<') && text.ends_with('>'))
}

/// The stems of a text, in order.
pub(super) fn stems(analyzer: Analyzer, text: &str) -> Vec<String> {
    analyzer.terms(text).into_iter().map(|term| term.stem).collect()
}
