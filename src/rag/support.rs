//! Which sentences of a passage an answer draws on, so that its reader is led to these and not to the whole chunk.
//!
//! What the answer takes over word for word is exactly that. For the rest it is the sentences that share most of
//! their words with the statement that carries the marker; where too little is shared nothing is claimed, and the
//! whole passage stands for the citation. Markers themselves are [`super::markers`]' business.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
};

use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    domain::answer::{Citation, Span},
    text::{
        analysis::Analyzer,
        sentences::{self, Kind},
    },
};

/// A sentence of fewer words may stand in an answer by chance.
const VERBATIM_WORDS: usize = 3;
/// How many words a sentence must share with a statement that it alone is to support.
const SHARED: usize = 2;
/// How many words more each further sentence must account for.
const SHARED_MORE: usize = 3;
/// And how many of the statement's words in all: one in so many.
const ONE_IN: usize = 4;
/// The most sentences that one statement is led back to.
const MOST: usize = 3;

/// Writes to each citation what of its passage the answer draws on.
pub fn find(answer: &str, citations: &mut [Citation]) {
    let answer = Statements::of(answer);
    for citation in citations {
        let found = answer.drawn_from(&citation.text, citation.index);
        let span = |range: Range<usize>| Span { start: citation.start + range.start, end: citation.start + range.end };
        citation.support = found.into_iter().map(span).collect();
    }
}

/// An answer without its markers, and where these stood.
struct Statements {
    text: String,
    sentences: Vec<Range<usize>>,
    /// A passage's number and a place in the text, in order.
    markers: Vec<(usize, usize)>,
}

/// What a marker stands behind.
struct Statement<'a> {
    /// Everything since the marker before.
    since: &'a str,
    /// The number of the sentence that carries it.
    sentence: Option<usize>,
}

/// A sentence of a passage as it is compared.
struct Sentence {
    range: Range<usize>,
    /// Its words in order, with a space on each side; empty if they are too few to be told from chance.
    words: String,
    stems: HashSet<String>,
}

/// The text without every `[n]` and the spaces before it, and where these were.
fn without_markers(text: &str) -> (String, Vec<(usize, usize)>) {
    let (mut plain, mut markers) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        plain.push_str(before);
        let digits = from.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let number = from.get(1..=digits).and_then(|digits| digits.parse().ok());
        rest = match number {
            Some(number) if from.as_bytes().get(digits + 1) == Some(&b']') => {
                plain.truncate(plain.trim_end_matches(' ').len());
                markers.push((number, plain.len()));
                from.get(digits + 2..).unwrap_or_default()
            }
            _ => {
                plain.push('[');
                from.get(1..).unwrap_or_default()
            }
        };
    }
    plain.push_str(rest);
    (plain, markers)
}

/// The words of a text in order, each with a space on both sides.
fn words(text: &str) -> String {
    let mut all = String::from(" ");
    for word in text.unicode_words() {
        all.extend(word.chars().flat_map(char::to_lowercase));
        all.push(' ');
    }
    all
}

fn stems(analyzer: Analyzer, text: &str) -> HashSet<String> {
    analyzer.terms(text).into_iter().map(|term| term.stem).collect()
}

impl Statements {
    fn of(answer: &str) -> Self {
        let (text, markers) = without_markers(answer);
        let sentences = sentences::sentences(&text);
        Self { text, sentences, markers }
    }

    /// What each marker of a passage stands behind; markers side by side stand behind the same.
    fn of_passage(&self, index: usize) -> impl Iterator<Item = Statement<'_>> {
        let mut since = 0;
        let mut last = 0;
        let begun = self.markers.iter().map(move |&(number, at)| {
            if at > last {
                since = last;
            }
            last = at;
            (number, since..at)
        });
        begun.filter(move |(number, _)| *number == index).map(|(_, range)| {
            // A marker behind the full stop belongs to what it ends; one that opens the answer, to what follows.
            let behind = self.sentences.partition_point(|sentence| sentence.start < range.end);
            Statement {
                since: self.text.get(range).unwrap_or_default(),
                sentence: (!self.sentences.is_empty()).then(|| behind.saturating_sub(1)),
            }
        })
    }

    /// The parts of a passage that its markers lead to, in order, those that touch as one.
    fn drawn_from(&self, passage: &str, index: usize) -> Vec<Range<usize>> {
        let analyzer = Analyzer::for_text(passage);
        let sentences = read(passage, analyzer);
        let (mut drawn, mut reworded) = (BTreeSet::new(), BTreeSet::new());
        for statement in self.of_passage(index) {
            let said = words(statement.since);
            let quoted = |sentence: &Sentence| !sentence.words.is_empty() && said.contains(&sentence.words);
            let before = drawn.len();
            drawn.extend(sentences.iter().enumerate().filter(|(_, sentence)| quoted(sentence)).map(|(at, _)| at));
            if drawn.len() == before {
                reworded.extend(statement.sentence);
            }
        }
        for statement in reworded {
            let said = self.sentences.get(statement).and_then(|range| self.text.get(range.clone()));
            drawn.extend(closest(&sentences, stems(analyzer, said.unwrap_or_default())));
        }
        joined(passage, drawn.into_iter().filter_map(|at| Some(sentences.get(at)?.range.clone())))
    }
}

/// The sentences of a passage that can say something: no headings, nor the heads of tables.
fn read(passage: &str, analyzer: Analyzer) -> Vec<Sentence> {
    let units = sentences::units(passage).into_iter();
    let telling = units.filter(|unit| !matches!(unit.kind, Kind::Heading | Kind::TableHead));
    let sentence = |range: Range<usize>| {
        let text = passage.get(range.clone()).unwrap_or_default();
        let (plain, _) = without_markers(text);
        let mut words = words(&plain);
        if words.split_whitespace().count() < VERBATIM_WORDS {
            words.clear();
        }
        Sentence { range, words, stems: stems(analyzer, text) }
    };
    telling.map(|unit| sentence(unit.range)).collect()
}

/// The sentences that account for a statement: the one that shares most with it, words that few sentences have counting
/// for more, then whichever shares most of what is left.
fn closest(sentences: &[Sentence], mut said: HashSet<String>) -> Vec<usize> {
    let mut seen: HashMap<&str, f32> = HashMap::new();
    for stem in sentences.iter().flat_map(|sentence| &sentence.stems) {
        *seen.entry(stem).or_default() += 1.0;
    }
    let all = said.len();
    let mut found: Vec<usize> = Vec::new();
    while found.len() < MOST {
        let shared = |sentence: &Sentence| sentence.stems.intersection(&said).count();
        let weight = |sentence: &Sentence| -> f32 {
            sentence.stems.intersection(&said).filter_map(|stem| seen.get(stem.as_str())).map(|count| 1.0 / count).sum()
        };
        // Of equals the first.
        let best = sentences.iter().enumerate().rev().max_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)));
        let Some((at, sentence)) = best else { break };
        let enough = if found.is_empty() { SHARED.min(all).max(all.div_ceil(ONE_IN)) } else { SHARED_MORE };
        if shared(sentence) < enough.max(1) {
            break;
        }
        said.retain(|stem| !sentence.stems.contains(stem));
        found.push(at);
    }
    found
}

fn joined(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if text.get(last.end..range.start).is_some_and(|gap| gap.trim().is_empty()) => {
                last.end = range.end;
            }
            _ => all.push(range),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSAGE: &str = "## Leases\n\nA worker renews its leases by heartbeats. After 15 seconds of silence the \
        job is delivered again.\n\n- A lost lease uses no attempt.\n- After three lost leases the job is dead.\n\n\
        | Setting | Default |\n|---|---|\n| lease | 15 s |\n";

    /// What of the passage is marked for `[1]` in this answer.
    fn marked(answer: &str) -> Vec<&'static str> {
        Statements::of(answer).drawn_from(PASSAGE, 1).into_iter().map(|range| &PASSAGE[range]).collect()
    }

    #[test]
    fn what_is_quoted_is_marked_exactly() {
        assert_eq!(
            marked("From the documents:\n\n- After 15 seconds of silence the job is delivered again. [1]"),
            ["After 15 seconds of silence the job is delivered again."]
        );
        // Two sentences behind one marker, the second a list item without its mark.
        assert_eq!(
            marked("- A worker renews its leases by heartbeats. A lost lease uses no attempt. [1]"),
            ["A worker renews its leases by heartbeats.", "- A lost lease uses no attempt."]
        );
    }

    #[test]
    fn a_statement_in_other_words_is_led_back_to_the_sentence_that_shares_most_with_it() {
        for (answer, expected) in [
            ("It is delivered once more when its worker was silent for 15 seconds [1].", 1),
            ("It is delivered once more when its worker was silent for 15 seconds. [1]", 1),
            ("No attempts are used when a lease is lost [2][1], and that is all.", 2),
            ("[1] says that no attempts are used by leases that are lost.", 2),
            ("Nobody knows. Jobs that lost their lease three times are dead [1]! But: attempts [2].", 3),
        ] {
            let sentences = [
                "A worker renews its leases by heartbeats.",
                "After 15 seconds of silence the job is delivered again.",
                "- A lost lease uses no attempt.",
                "- After three lost leases the job is dead.",
            ];
            assert_eq!(marked(answer), [sentences[expected]], "{answer}");
        }
    }

    #[test]
    fn a_statement_made_of_two_sentences_is_led_back_to_both_as_one_where_they_touch() {
        assert_eq!(
            marked("Workers renew leases by heartbeats, and after 15 seconds of silence jobs are delivered again [1]."),
            ["A worker renews its leases by heartbeats. After 15 seconds of silence the job is delivered again."]
        );
    }

    #[test]
    fn nothing_is_claimed_for_what_shares_too_little() {
        for answer in
            ["Ships moor at the berth [1].", "The weather of the job is fair today, as far as we know [1].", ""]
        {
            assert_eq!(marked(answer), [""; 0], "{answer}");
        }
        assert_eq!(marked("A lost lease uses no attempt [2]."), [""; 0], "that was another passage");
    }

    #[test]
    fn notes_in_the_passage_are_not_in_the_way_of_a_quotation() {
        let passage = "The lamp is lit at dusk [12]. Nobody minds it.";
        let found = Statements::of("The lamp is lit at dusk. [1]").drawn_from(passage, 1);
        assert!(found.iter().eq(std::iter::once(&(0..29))), "{found:?}");
    }

    proptest! {
        #[test]
        fn whatever_is_said_spans_lie_within_the_passage_in_order(
            answer in "([ab .\\n]|one|two|\\[1\\]|\\[2\\]|\u{e4}){0,40}", passage in "([ab .\\n#|`-]|one|two|\u{e4}){0,40}"
        ) {
            let found = Statements::of(&answer).drawn_from(&passage, 1);
            prop_assert!(found.iter().all(|range| passage.get(range.clone()).is_some_and(|text| !text.is_empty())));
            prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
