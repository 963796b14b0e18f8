//! Which sentences of a passage an answer draws on, so that its reader is led to these and not to the whole chunk.
//!
//! What the answer takes over word for word is exactly that. For the rest it is the sentences that share most of
//! their words with the statement that carries the marker; where too little is shared nothing is claimed, and the
//! whole passage stands for the citation. Markers themselves are [`super::markers`]' business.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use unicode_segmentation::UnicodeSegmentation as _;

use super::markers::without_markers;
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

/// Writes to each citation what of its passage the answer draws on. Takes time in proportion to the length of the answer
/// and to that of the passages, however many markers there are.
pub fn find(answer: &str, citations: &mut [Citation]) {
    let answer = Statements::of(answer);
    for citation in citations {
        let found = answer.drawn_from(&citation.text, citation.index);
        let span = |range: Range<usize>| Span { start: citation.start + range.start, end: citation.start + range.end };
        citation.support = found.into_iter().map(span).collect();
    }
}

/// An answer without its markers, and what these stood behind.
struct Statements {
    text: String,
    sentences: Vec<Range<usize>>,
    all: Vec<Statement>,
}

/// What markers in one place stand behind.
struct Statement {
    /// The numbers of the passages it is said to rest on.
    passages: BTreeSet<usize>,
    /// The words of everything since the markers before.
    said: String,
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

/// The sentences of a passage that can say something: no headings, nor the heads of tables.
struct ReadPassage {
    sentences: Vec<Sentence>,
    /// Which sentences have a stem.
    holders: HashMap<String, Vec<usize>>,
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

fn stems<Stems: FromIterator<String>>(analyzer: Analyzer, text: &str) -> Stems {
    analyzer.terms(text).into_iter().map(|term| term.stem).collect()
}

impl Statements {
    fn of(answer: &str) -> Self {
        let (text, markers) = without_markers(answer);
        let sentences = sentences::sentences(&text);
        let mut since = 0;
        let statement = |side_by_side: &[(usize, usize)]| {
            let at = side_by_side.first().map_or(since, |(_, at)| *at);
            let said = words(text.get(since..at).unwrap_or_default());
            since = at;
            // A marker behind the full stop belongs to what it ends; one that opens the answer, to what follows.
            let behind = sentences.partition_point(|sentence| sentence.start < at);
            Statement {
                passages: side_by_side.iter().map(|(number, _)| *number).collect(),
                said,
                sentence: (!sentences.is_empty()).then(|| behind.saturating_sub(1)),
            }
        };
        let all = markers.chunk_by(|(_, one), (_, other)| one == other).map(statement).collect();
        Self { text, sentences, all }
    }

    /// The parts of a passage that its markers lead to, in order, those that touch as one.
    fn drawn_from(&self, passage: &str, index: usize) -> Vec<Range<usize>> {
        let analyzer = Analyzer::for_text(passage);
        let read = ReadPassage::of(passage, analyzer);
        let (mut drawn, mut reworded) = (BTreeSet::new(), BTreeSet::new());
        for statement in self.all.iter().filter(|statement| statement.passages.contains(&index)) {
            let quoted = read.quoted_in(&statement.said);
            if quoted.is_empty() {
                reworded.extend(statement.sentence);
            }
            drawn.extend(quoted);
        }
        for statement in reworded {
            let said = self.sentences.get(statement).and_then(|range| self.text.get(range.clone()));
            drawn.extend(read.closest(stems(analyzer, said.unwrap_or_default())));
        }
        joined(passage, drawn.into_iter().filter_map(|at| Some(read.sentences.get(at)?.range.clone())))
    }
}

impl ReadPassage {
    fn of(passage: &str, analyzer: Analyzer) -> Self {
        let units = sentences::units(passage).into_iter();
        let telling = units.filter(|unit| !matches!(unit.kind, Kind::Heading | Kind::TableHead));
        let sentences: Vec<Sentence> = telling.map(|unit| Sentence::of(passage, unit.range, analyzer)).collect();
        let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, sentence) in sentences.iter().enumerate() {
            for stem in &sentence.stems {
                holders.entry(stem.clone()).or_default().push(at);
            }
        }
        Self { sentences, holders }
    }

    /// The sentences that stand in `said` word for word.
    fn quoted_in(&self, said: &str) -> Vec<usize> {
        let quoted = |sentence: &Sentence| !sentence.words.is_empty() && said.contains(&sentence.words);
        self.sentences.iter().enumerate().filter(|(_, sentence)| quoted(sentence)).map(|(at, _)| at).collect()
    }

    /// The sentences that account for a statement: the one that shares most with it, words that few sentences have
    /// counting for more, then whichever shares most of what is left.
    fn closest(&self, mut said: BTreeSet<String>) -> Vec<usize> {
        let all = said.len();
        let mut found: Vec<usize> = Vec::new();
        while found.len() < MOST {
            let Some((at, shared)) = self.best(&said) else { break };
            let enough = if found.is_empty() { SHARED.min(all).max(all.div_ceil(ONE_IN)) } else { SHARED_MORE };
            if shared < enough.max(1) {
                break;
            }
            if let Some(sentence) = self.sentences.get(at) {
                said.retain(|stem| !sentence.stems.contains(stem));
            }
            found.push(at);
        }
        found
    }

    /// The sentence that shares most with `said`, of equals the first, and how many stems it shares.
    fn best(&self, said: &BTreeSet<String>) -> Option<(usize, usize)> {
        let mut scores: BTreeMap<usize, (f32, usize)> = BTreeMap::new();
        for holders in said.iter().filter_map(|stem| self.holders.get(stem)) {
            for at in holders {
                let (weight, shared) = scores.entry(*at).or_default();
                *weight += 1.0 / holders.len() as f32;
                *shared += 1;
            }
        }
        let best = scores.into_iter().rev().max_by(|(_, (one, _)), (_, (other, _))| one.total_cmp(other));
        best.map(|(at, (_, shared))| (at, shared))
    }
}

impl Sentence {
    fn of(passage: &str, range: Range<usize>, analyzer: Analyzer) -> Self {
        let text = passage.get(range.clone()).unwrap_or_default();
        let (plain, _) = without_markers(text);
        let mut words = words(&plain);
        if words.split_whitespace().count() < VERBATIM_WORDS {
            words.clear();
        }
        Self { range, words, stems: stems(analyzer, text) }
    }
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

    #[test]
    fn a_marker_in_code_is_none() {
        assert_eq!(marked("A lost lease uses no attempt: `leases[1]`."), [""; 0]);
        assert_eq!(
            marked("Leases are `leases[1]`. A lost lease uses no attempt. [1]"),
            ["- A lost lease uses no attempt."]
        );
    }

    #[test]
    fn a_marker_repeated_thousands_of_times_is_looked_at_once() {
        let answer = format!("{}{}", "A lost lease uses no attempt. ".repeat(500), "[1]".repeat(5_000));
        let statements = Statements::of(&answer);
        assert_eq!((statements.all.len(), &statements.all[0].passages), (1, &BTreeSet::from([1])));
        assert_eq!(marked(&answer), ["- A lost lease uses no attempt."]);
    }

    proptest! {
        #[test]
        fn no_part_of_an_answer_is_compared_twice_with_a_passage(
            answer in "([ab .\\n`]|one|two|\\[1\\]|\\[2, 1\\]|\u{e4}){0,40}"
        ) {
            let statements = Statements::of(&answer);
            let said = statements.all.iter().flat_map(|statement| statement.said.chars());
            prop_assert!(said.filter(|c| *c != ' ').count() <= statements.text.chars().count());
            prop_assert!(statements.all.len() <= statements.text.len() + 1);
        }

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
