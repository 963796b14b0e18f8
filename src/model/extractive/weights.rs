//! Which of the question's words matter, and what kind of thing it asks for.

use std::collections::HashMap;

use super::candidates::{Candidate, Stems, stems};
use crate::text::analysis::Analyzer;

/// Words that ask rather than name what is asked for; they count little. Stop words are gone already.
const ASKING: &str = "work works working mean means meaning explain describe tell show give list happen happens use used \
    using make need want know possible please exactly example way thing many much often long get find difference \
    purpose kind type offer offers provide provides documents documentation docs say says exist exists compared compare versus \
    funktioniert bedeutet bedeuten heißt erklären erkläre zeige passiert machen brauche gibt viele lange oft \
    signifie expliquer explique fonctionne marche faire significa explica funciona hacer";
const ASKING_WEIGHT: f32 = 0.2;

/// Words after which commands are welcome.
const COMMANDS: &[&str] = &[
    "how",
    "command",
    "commands",
    "run",
    "install",
    "start",
    "set",
    "configure",
    "curl",
    "usage",
    "example",
    "code",
    "script",
    "wie",
    "befehl",
    "starten",
    "installieren",
    "beispiel",
    "comment",
    "commande",
    "cómo",
    "comando",
];
const AMOUNTS: &[&str] =
    &["many", "much", "long", "often", "large", "big", "fast", "old", "viele", "lange", "groß", "oft"];
/// How a question begins that asks what something is.
const DEFINING: &[&[&str]] = &[
    &["what", "is"],
    &["what", "are"],
    &["what", "s"],
    &["was", "ist"],
    &["was", "sind"],
    &["qu", "est", "ce", "que"],
    &["qué", "es"],
];
const TIMES: &[&str] = &["when", "wann", "quand", "cuándo"];

/// A question, weighed against what could answer it.
#[derive(Debug)]
pub(super) struct Question {
    /// What each of its stems counts, by rarity among the candidates.
    pub(super) weights: HashMap<String, f32>,
    /// All of it.
    pub(super) total: f32,
    /// Pairs of stems that stand side by side in it.
    pub(super) pairs: Vec<(String, String)>,
    /// The stems that name what is asked for.
    pub(super) naming: Stems,
    /// Whether it asks what something is.
    pub(super) wants_definition: bool,
    /// Whether code may answer it.
    pub(super) wants_code: bool,
    /// Whether it asks for a number or a time.
    pub(super) wants_number: bool,
}

impl Question {
    /// Weighs the question: rare words among the candidates count more, by the usual inverse document
    /// frequency; a word that no candidate holds counts as one that a single one holds.
    pub(super) fn weigh(question: &str, candidates: &[Candidate], analyzer: Analyzer) -> Self {
        let asked = stems(analyzer, question);
        let asking = stems(analyzer, ASKING);
        let count = candidates.len() as f32;
        let weight = |stem: &String| {
            let holding = candidates.iter().filter(|candidate| candidate.stems.contains(stem)).count().max(1) as f32;
            let rarity = (1.0 + (count - holding + 0.5) / (holding + 0.5)).ln();
            // A word of every sentence is still a word of the question.
            rarity.max(0.3) * if asking.contains(stem) { ASKING_WEIGHT } else { 1.0 }
        };
        let weights: HashMap<String, f32> = asked.iter().map(|stem| (stem.clone(), weight(stem))).collect();
        let words: Vec<String> = question
            .split(|c: char| !c.is_alphanumeric())
            .map(str::to_lowercase)
            .filter(|word| !word.is_empty())
            .collect();
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let amount = has(AMOUNTS) || has(TIMES);
        Self {
            total: weights.values().sum(),
            pairs: asked.iter().zip(asked.iter().skip(1)).map(|(a, b)| (a.clone(), b.clone())).collect(),
            naming: asked.iter().filter(|stem| !asking.contains(stem)).cloned().collect(),
            wants_definition: DEFINING
                .iter()
                .any(|begin| words.iter().map(String::as_str).take(begin.len()).eq(begin.iter().copied())),
            wants_code: has(COMMANDS) && !amount,
            wants_number: amount,
            weights,
        }
    }

    /// Whether the candidate has enough of what the question names: of two or more names one alone, however
    /// rare, is about something else, unless the candidate begins with it ("What colour is the lift?" "The lift
    /// is green.").
    pub(super) fn named(&self, candidate: &Candidate) -> bool {
        let has = |stem: &String| candidate.stems.contains(stem) || candidate.above.contains(stem);
        let found = self.naming.iter().filter(|stem| has(stem)).count();
        found >= self.naming.len().min(2) || candidate.sequence.first().is_some_and(|stem| self.naming.contains(stem))
    }

    /// What of the question these stems cover, as a share of all of it.
    pub(super) fn covered<'a>(&self, stems: impl IntoIterator<Item = &'a String>) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        stems.into_iter().filter_map(|stem| self.weights.get(stem)).sum::<f32>() / self.total
    }
}
