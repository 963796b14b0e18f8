//! Writes the spellings of English words that `src/text/analysis/spelling.rs` reads, one `variant usual` a line.
//!
//! The source is `VarCon`, the list behind common spell checkers, by the `varcon` crate. Its tables are pointers by the
//! hundred thousand, which every process would pay for at its start; text costs nothing until it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::PathBuf,
};

use varcon::{Category, Entry, VARCON, Variant};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let lines = spellings().into_iter().map(|(variant, usual)| format!("{variant} {usual}\n"));
    fs::write(out.join("spellings.txt"), lines.collect::<String>())?;
    Ok(())
}

/// The American spelling of every word that other Englishes mostly spell in another way. A word that is itself how
/// Americans mostly spell something stays as it is.
fn spellings() -> BTreeMap<&'static str, &'static str> {
    // The others were made by rules that nobody has looked over: they take "Goes" for "Ges".
    let verified = || VARCON.iter().filter(|cluster| cluster.verified);
    let entries = || verified().flat_map(|cluster| cluster.entries);
    let american: BTreeSet<_> = entries().filter_map(american).collect();
    let mut spellings = BTreeMap::new();
    for entry in entries() {
        let Some(target) = self::american(entry) else { continue };
        for word in entry.variants.iter().filter(|variant| is_usual(variant, |_| true)).map(|variant| variant.word) {
            // Search asks for words without apostrophes, in lower case.
            let is_asked_for = |word: &str| word.chars().all(char::is_lowercase);
            if !american.contains(word) && is_asked_for(word) && is_asked_for(target) {
                spellings.entry(word).or_insert(target);
            }
        }
    }
    spellings
}

/// How Americans mostly write it.
fn american(entry: &Entry) -> Option<&'static str> {
    let is_american = |variant: &&Variant| is_usual(variant, |category| matches!(category, Category::American));
    entry.variants.iter().find(is_american).map(|variant| variant.word)
}

/// Whether it is what is mostly written in one of these Englishes.
fn is_usual(variant: &Variant, of: impl Fn(Category) -> bool) -> bool {
    variant.types.iter().any(|spelt| spelt.tag.is_none() && of(spelt.category))
}
