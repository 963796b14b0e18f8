//! One spelling of each English word: `color` finds `colour`, `initialize` finds `initialise`.
//!
//! The pairs are made from `VarCon` when ragq is built, see `build.rs`.

use std::{collections::HashMap, sync::OnceLock};

use foldhash::fast::RandomState;

/// The American spelling of a lowercased English word; a word without one of its own stays as it is.
pub(super) fn american(word: &str) -> &str {
    static SPELLINGS: OnceLock<HashMap<&str, &str, RandomState>> = OnceLock::new();
    let spellings = SPELLINGS.get_or_init(|| {
        let lines = include_str!(concat!(env!("OUT_DIR"), "/spellings.txt")).lines();
        lines.filter_map(|line| line.split_once(' ')).collect()
    });
    spellings.get(word).copied().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::american;

    #[test]
    fn spellings_of_one_word_become_one() {
        for (variant, usual) in [
            ("colour", "color"),
            ("initialise", "initialize"),
            ("serialisation", "serialization"),
            ("analysed", "analyzed"),
            ("centre", "center"),
            ("signalling", "signaling"),
            ("haemoglobin", "hemoglobin"),
            ("catalogue", "catalog"),
        ] {
            assert_eq!(american(variant), usual);
            assert_eq!(american(usual), usual);
        }
    }

    #[test]
    fn words_of_one_spelling_stay_as_they_are() {
        for word in [
            "",
            "lease",
            "exercise",
            "otherwise",
            "four",
            "practice",
            "chile",
            "aline",
            "metre's",
            "größe",
            "initialise_all",
        ] {
            assert_eq!(american(word), word);
        }
    }
}
