//! From a question to the stems to look for, in every language the searched documents are in.
//!
//! A question is too short to tell its language for certain. So each of its words is stemmed as each language
//! would; the stems of one word form a group that counts as one word, so that a stem that is rare only because
//! few documents are in its language gains no weight by that.

use std::collections::{BTreeMap, HashMap};

use crate::text::analysis::Analyzer;

/// Languages looked into at most, those with the most chunks first.
const MOST_LANGUAGES: usize = 8;

/// The stems that one word of the question may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// The stems, each once.
    pub(super) stems: Vec<String>,
    /// How often the question says it.
    pub(super) times: f32,
}

/// The groups of a question, given how many chunks there are of each language.
pub(super) fn groups(question: &str, languages: &HashMap<&'static str, u32>) -> Vec<Group> {
    let mut ranked: Vec<(&'static str, u32)> =
        languages.iter().filter(|(_, chunks)| **chunks > 0).map(|(language, chunks)| (*language, *chunks)).collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    ranked.truncate(MOST_LANGUAGES);
    let analyzers: Vec<Analyzer> = ranked.iter().map(|(language, _)| Analyzer::for_language(language)).collect();
    // The language whose stop words the question is made of; the more common one if they tie.
    let spoken = analyzers.iter().rev().max_by_key(|analyzer| analyzer.stop_words_in(question));
    let mut words: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for analyzer in &analyzers {
        for term in analyzer.terms(question) {
            // The German "die" of a German question is no English word.
            let word = question.get(term.start..term.end).unwrap_or_default();
            if analyzers.len() > 1 && spoken.is_some_and(|spoken| spoken.is_stop_word(word)) {
                continue;
            }
            let stems = words.entry((term.start, term.end)).or_default();
            if !stems.contains(&term.stem) {
                stems.push(term.stem);
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
    for stems in words.into_values() {
        let at = *seen.entry(stems.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.times += 1.0,
            None => groups.push(Group { stems, times: 1.0 }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(question: &str, languages: &[(&'static str, u32)]) -> Vec<Vec<String>> {
        groups(question, &languages.iter().copied().collect()).into_iter().map(|group| group.stems).collect()
    }

    #[test]
    fn a_word_is_stemmed_as_each_language_would_and_counts_as_one() {
        assert_eq!(of("heated wings", &[("en", 9)]), [["heat"], ["wing"]]);
        assert_eq!(of("studies", &[("en", 9), ("de", 2)]), [["studi", "studi"].map(str::to_owned)[..1].to_vec()]);
        assert_eq!(of("Häuser", &[("en", 9), ("de", 2)]), [["hauser", "haus"]]);
    }

    #[test]
    fn stop_words_of_the_language_spoken_are_not_searched_in_the_others() {
        assert_eq!(of("Was ist die Frist?", &[("en", 9), ("de", 2)]), [["frist"]]);
        assert_eq!(of("why do cells die", &[("en", 9), ("de", 2)]), [["cell"], ["die"]]);
    }

    #[test]
    fn a_word_said_twice_weighs_twice_and_no_documents_mean_no_groups() {
        let groups = groups("lease, leases", &HashMap::from([("en", 1)]));
        assert_eq!(groups, [Group { stems: vec!["leas".into()], times: 2.0 }]);
        assert!(of("lease", &[]).is_empty());
    }
}
