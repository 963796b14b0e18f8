//! Which candidates are quoted, and how far a quotation reaches.
//!
//! A candidate's score is the share of the question it covers, by itself and, for less, by what it stands
//! below. The numbers were set by reading the answers to about thirty questions over real documentation;
//! what they must keep is pinned in `tests/it/model/extractive.rs`.

use super::{
    candidates::{Candidate, candidates},
    quote::{self, Wanted},
    weights::Question,
};
use crate::{
    domain::answer::Passage,
    text::{analysis::Analyzer, sentences::Kind},
};

/// Most quotations of an answer.
const MAX_QUOTES: usize = 4;
/// Below this share of the question nothing is an answer: the best candidate with what it stands below.
const ENOUGH: f32 = 0.45;
/// The share that a candidate must cover by its own words, or else
const ENOUGH_ITSELF: f32 = 0.2;
/// the share that its heading must cover if it stands right below: what is below "Getting help" answers how
/// to get help in whatever words.
const ENOUGH_HEADING: f32 = 0.4;
/// What the nearest heading counts for the first candidates below it.
const BELOW_HEADING: [f32; 3] = [0.35, 0.2, 0.1];
/// An answer whose best quotation is below this score is not made longer than two.
const SURE: f32 = 0.7;
/// What the words above a candidate count against its own.
const ABOVE: f32 = 0.5;
/// Further quotations must score this share of the best.
const NEXT: f32 = 0.62;
/// Candidates that share more of their words say the same.
const SAME: f32 = 0.6;
/// A candidate of which another holds this much says nothing more,
const CONTAINED: f32 = 0.8;
/// if it has so many words that this is no chance.
const CONTAINED_WORDS: usize = 5;
/// So many words may stand around what is defined at the beginning of its definition.
const DEFINITION_LEAD: usize = 1;
/// A quotation is not made longer than this by what belongs to it, in bytes.
const WITH_COMPANY: usize = 420;

/// A quotation ready to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// The passage, from 0.
    pub(super) passage: usize,
    /// The words.
    pub(super) text: String,
}

/// The quotations that answer the question, best first; none if the passages do not answer it.
pub(super) fn quotes(question: &str, passages: &[Passage]) -> Vec<Quote> {
    // A question is too short to tell its language by; the passages are not.
    let sample: String = passages.iter().flat_map(|passage| passage.text.chars().take(600)).collect();
    let analyzer = Analyzer::for_text(&sample);
    let candidates = candidates(passages, analyzer);
    let question = Question::weigh(question, &candidates, analyzer);
    let mut ranked: Vec<(f32, usize)> =
        (0..candidates.len()).map(|at| (score(&question, &candidates, at), at)).collect();
    ranked.retain(|(score, _)| *score > 0.0);
    // Best first; of equals, the one of the better passage.
    ranked.sort_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
    let answers = |at: usize| {
        candidates.get(at).is_some_and(|candidate| {
            let itself = question.covered(&candidate.stems);
            let headed = candidate.depth < 2 && question.covered(&candidate.heading) >= ENOUGH_HEADING;
            !candidate.fragment
                && question.named(candidate)
                && (headed || itself >= ENOUGH_ITSELF)
                && itself + question.covered(&candidate.above) >= ENOUGH
        })
    };
    ranked.retain(|(_, at)| answers(*at));
    let best = ranked.first().map_or(0.0, |(score, _)| *score);
    let mut spans: Vec<Span> = Vec::new();
    for (score, at) in ranked {
        if spans.len() >= if best < SURE { 2 } else { MAX_QUOTES } || score < NEXT * best {
            break;
        }
        add(&mut spans, &candidates, at, passages);
    }
    let stems = question.weights.keys().cloned().collect();
    let wanted = Wanted { stems: &stems, analyzer };
    spans.iter().filter_map(|span| span.quote(&candidates, &wanted, passages)).collect()
}

/// What a candidate is worth for the question: about 1 for one that covers it.
fn score(question: &Question, candidates: &[Candidate], at: usize) -> f32 {
    let Some(candidate) = candidates.get(at) else { return 0.0 };
    let itself = question.covered(&candidate.stems);
    let mut score = itself + ABOVE * question.covered(&candidate.above);
    let below = BELOW_HEADING.get(candidate.depth).copied().unwrap_or(0.0);
    score += below * question.covered(&candidate.heading);
    let pairs = candidate.sequence.iter().zip(candidate.sequence.iter().skip(1));
    let together = pairs.filter(|(a, b)| question.pairs.iter().any(|(c, d)| *a == c && *b == d)).count();
    score += 0.08 * together.min(2) as f32;
    // A short sentence that covers as much says it more plainly; fragments say nothing.
    let words = candidate.sequence.len() as f32;
    score *= 1.0 / (1.0 + (words - 12.0).max(0.0) / 60.0);
    if words < 3.0 && candidate.kind != Kind::Code {
        score *= 0.6;
    }
    if question.wants_definition && defines(question, candidate) {
        score *= 1.25;
    }
    if question.wants_number && has_number(candidate) {
        score *= 1.15;
    }
    // What opens the paragraph below its heading mostly says what the heading promises.
    if candidate.opens && candidate.kind == Kind::Sentence {
        score *= 1.05;
    }
    if candidate.kind == Kind::Code {
        let led = previous(candidates, at).map_or(0.0, |lead| question.covered(&lead.stems));
        score = if question.wants_code { (score + 0.5 * led) * 1.1 } else { score * 0.3 };
    }
    // The passages come best first.
    score / (1.0 + 0.04 * candidate.passage as f32)
}

/// Whether it begins with all that the question names, as definitions do.
fn defines(question: &Question, candidate: &Candidate) -> bool {
    let beginning = || candidate.sequence.iter().take(question.naming.len() + DEFINITION_LEAD);
    !question.naming.is_empty()
        && candidate.sequence.len() > question.naming.len() + 1
        && question.naming.iter().all(|stem| beginning().any(|other| other == stem))
}

fn has_number(candidate: &Candidate) -> bool {
    candidate.sequence.iter().any(|stem| stem.starts_with(|c: char| c.is_ascii_digit()))
}

fn previous(candidates: &[Candidate], at: usize) -> Option<&Candidate> {
    let candidate = candidates.get(at)?;
    candidates.get(at.checked_sub(1)?).filter(|before| follows(before, candidate))
}

fn follows(before: &Candidate, after: &Candidate) -> bool {
    before.passage == after.passage && before.unit + 1 == after.unit
}

/// Candidates next to each other that are quoted as one.
#[derive(Debug)]
struct Span {
    from: usize,
    to: usize,
}

impl Span {
    fn quote(&self, candidates: &[Candidate], wanted: &Wanted<'_>, passages: &[Passage]) -> Option<Quote> {
        let units = candidates.get(self.from..=self.to)?;
        let passage = units.first()?.passage;
        let text = &passages.get(passage)?.text;
        let text = quote::quote(text, units, wanted);
        (!text.is_empty()).then_some(Quote { passage, text })
    }
}

/// Quotes a candidate with what belongs to it, unless it is quoted already or says what another says.
fn add(spans: &mut Vec<Span>, candidates: &[Candidate], at: usize, passages: &[Passage]) {
    let Some(candidate) = candidates.get(at) else { return };
    let quoted = |span: &Span| candidates.get(span.from..=span.to).unwrap_or_default();
    let repeated = spans.iter().flat_map(quoted).any(|other| same(candidate, other));
    if repeated || spans.iter().any(|span| (span.from..=span.to).contains(&at)) {
        return;
    }
    let mut span = Span { from: at, to: at };
    let length = |span: &Span| match (candidates.get(span.from), candidates.get(span.to)) {
        (Some(from), Some(to)) => to.range.end.saturating_sub(from.range.start),
        _ => usize::MAX,
    };
    // Code and what leans on the sentence before are not understood alone; if that says what is quoted
    // already, so does this one.
    let leans_on =
        previous(candidates, at).filter(|before| before.kind == Kind::Sentence && needs_previous(candidate, passages));
    if candidate.kind == Kind::Sentence
        && leans_on.is_some_and(|before| {
            spans.iter().any(|span| {
                !(span.from..=span.to).contains(&(at - 1)) && quoted(span).iter().any(|other| same(before, other))
            })
        })
    {
        return;
    }
    if leans_on.is_some_and(|before| !needs_previous(before, passages))
        && length(&Span { from: at - 1, to: at }) <= WITH_COMPANY
    {
        span.from = at - 1;
    }
    // What ends in a colon announces the list or the code that follows.
    while announces(candidates, &span, passages)
        && candidates.get(span.to).zip(candidates.get(span.to + 1)).is_some_and(|(last, next)| follows(last, next))
        && length(&Span { from: span.from, to: span.to + 1 }) <= WITH_COMPANY
    {
        span.to += 1;
    }
    let touches = |other: &Span| {
        let meet = span.from <= other.to + 1 && other.from <= span.to + 1;
        let ends = candidates.get(span.from).zip(candidates.get(other.from));
        meet && ends.is_some_and(|(a, b)| {
            a.passage == b.passage
                && (a.kind == Kind::Sentence && b.kind == Kind::Sentence
                    || span.from <= other.to && other.from <= span.to)
        })
    };
    match spans.iter_mut().find(|other| touches(other)) {
        Some(other) => {
            let joined = Span { from: span.from.min(other.from), to: span.to.max(other.to) };
            if length(&joined) <= WITH_COMPANY && adjacent(candidates, &joined) {
                *other = joined;
            } else if span.from > other.to || span.to < other.from {
                spans.push(span);
            }
        }
        None => spans.push(span),
    }
}

/// Whether neither a heading nor the beginning of a paragraph stands between the span's candidates.
fn adjacent(candidates: &[Candidate], span: &Span) -> bool {
    let units = candidates.get(span.from..=span.to).unwrap_or_default();
    units.iter().zip(units.iter().skip(1)).all(|(before, after)| {
        let new_paragraph = after.opens && before.kind == Kind::Sentence && after.kind == Kind::Sentence;
        follows(before, after) && !new_paragraph
    })
}

/// Whether the span's first unit ends in a colon and its last is still what was announced.
fn announces(candidates: &[Candidate], span: &Span, passages: &[Passage]) -> bool {
    let ends_in_colon = |candidate: &Candidate| text_of(candidate, passages).ends_with(':');
    let Some(next) = candidates.get(span.to + 1) else { return false };
    let listed = matches!(next.kind, Kind::Item | Kind::Row | Kind::Code);
    let first =
        candidates.get(span.from..=span.to).and_then(|units| units.iter().rfind(|unit| unit.kind == Kind::Sentence));
    let last_is_code = candidates.get(span.to).is_some_and(|last| last.kind == Kind::Code);
    listed && !last_is_code && first.is_some_and(ends_in_colon)
}

fn text_of<'a>(candidate: &Candidate, passages: &'a [Passage]) -> &'a str {
    passages.get(candidate.passage).and_then(|passage| passage.text.get(candidate.range.clone())).unwrap_or_default()
}

/// Words that lean on the sentence before.
const LEANING: &[&str] = &[
    "it",
    "its",
    "this",
    "that",
    "these",
    "those",
    "they",
    "their",
    "he",
    "she",
    "then",
    "therefore",
    "thus",
    "however",
    "otherwise",
    "so",
    "also",
    "instead",
    "both",
    "here",
    "but",
    "and",
    "or",
    "es",
    "dies",
    "diese",
    "dieser",
    "dieses",
    "sie",
    "er",
    "dann",
    "daher",
    "deshalb",
    "sonst",
    "auch",
    "aber",
    "dabei",
    "il",
    "elle",
    "ils",
    "cela",
    "ce",
    "esto",
];

fn needs_previous(candidate: &Candidate, passages: &[Passage]) -> bool {
    match candidate.kind {
        Kind::Code => true,
        Kind::Sentence => {
            let text = text_of(candidate, passages);
            let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
            !candidate.opens && LEANING.contains(&first.as_str())
        }
        Kind::Heading | Kind::Item | Kind::TableHead | Kind::Row => false,
    }
}

/// Whether two candidates say the same, by their words.
fn same(a: &Candidate, b: &Candidate) -> bool {
    let common = a.stems.intersection(&b.stems).count() as f32;
    let all = a.stems.union(&b.stems).count() as f32;
    let fewer = a.stems.len().min(b.stems.len());
    all > 0.0 && (common / all > SAME || fewer >= CONTAINED_WORDS && common / fewer as f32 > CONTAINED)
}
