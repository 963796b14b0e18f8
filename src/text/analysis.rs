//! From text to search terms: words, lowercased, without stop words, as snowball stems, diacritics folded.
//!
//! The same analysis serves indexing, searching and quoting, so that what was indexed is found. Stemmers and
//! stop words are those of Qdrant's own BM25 (snowball, NLTK) as far as these reach. How text falls into words
//! is [`words`]' business, what is known of each language [`language`]'s.
//!
//! Not kept here: anything about statistics or ranking. A change that gives other stems for the same text must
//! raise [`REVISION`]: the embedded index then analyses its documents anew when it loads them, and in Qdrant a document
//! is analysed anew when it is sent again.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use self::{language::Language, words::Kind};

mod language;
mod spelling;
mod words;

/// Rises with every change that gives other terms, or other counts of them, for the same text.
pub const REVISION: u32 = 3;

/// Words longer than this many bytes are no words (encoded data) and are left out.
const LONGEST_WORD: usize = 256;

/// One search term and the text it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The stem, as it is compared.
    pub stem: String,
    /// Where the word begins in the text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
}

/// Turns text of one language into terms; costs nothing to make or copy.
#[derive(Clone, Copy, Debug)]
pub struct Analyzer {
    language: &'static Language,
}

impl Analyzer {
    /// The analyzer for the language that `text` is in: English if that can't be told.
    pub fn for_text(text: &str) -> Self {
        Self { language: language::detect(text) }
    }

    /// The analyzer for a language by its code as [`Analyzer::language`] gives it; an unknown one is English.
    pub fn for_language(code: &str) -> Self {
        Self { language: language::by_code(code) }
    }

    /// The language's ISO 639-1 code, or ISO 639-3 where there is none.
    pub fn language(&self) -> &'static str {
        self.language.code
    }

    /// The terms of `text` in order; a compound such as `max_attempts` stands beside its parts.
    pub fn terms(&self, text: &str) -> Vec<Term> {
        let mut terms = Vec::with_capacity(text.len() / 8);
        self.each_term(text, |stem, start, end| {
            terms.push(Term { stem: stem.into_owned(), start, end });
        });
        terms
    }

    /// How many of the words of `text` are this language's stop words: a hint at the language of a short text.
    pub fn stop_words_in(&self, text: &str) -> usize {
        self.language.stop_words_in(text)
    }

    /// Whether the word is one that every text of this language is full of.
    pub fn is_stop_word(&self, word: &str) -> bool {
        self.language.is_stop_word(&normalize(word))
    }

    fn each_term(self, text: &str, mut each: impl FnMut(Cow<'_, str>, usize, usize)) {
        words::split(text, self.language.elides, |start, end, kind| {
            if end - start > LONGEST_WORD {
                return;
            }
            let Some(word) = text.get(start..end) else { return };
            match kind {
                Kind::Word => {
                    let word = normalize(word);
                    if self.language.is_stop_word(&word) {
                        return;
                    }
                    let word = without_apostrophes(word);
                    let stem = fold(self.language.stem(&word));
                    if !stem.is_empty() {
                        each(stem, start, end);
                    }
                }
                Kind::Verbatim => each(fold(normalize(word)), start, end),
            }
        });
    }
}

/// Lowercase in compatibility composition, with plain apostrophes and without invisible characters.
fn normalize(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return word.to_ascii_lowercase().into();
        }
        return word.into();
    }
    let visible = word.chars().filter(|c| !words::is_invisible(*c));
    let composed: String = visible.map(|c| if words::is_apostrophe(c) { '\'' } else { c }).nfkc().collect();
    // The Russian stemmer expects its words without the two dots, which are seldom written anyway.
    composed.to_lowercase().nfc().map(|c| if c == 'ё' { 'е' } else { c }).collect::<String>().into()
}

/// `aircraft's` is `aircraft`, `o'brien` is `obrien`, `u.s` (what is left of `U.S.`) is `us`.
fn without_apostrophes(word: Cow<'_, str>) -> Cow<'_, str> {
    if !word.contains(['\'', '.']) {
        return word;
    }
    let bare = word.strip_suffix("'s").unwrap_or(&word);
    bare.chars().filter(|c| !matches!(c, '\'' | '.')).collect::<String>().into()
}

/// Takes the marks off Latin, Greek, Cyrillic, Arabic and Hebrew letters; elsewhere marks make the word.
fn fold(word: Cow<'_, str>) -> Cow<'_, str> {
    if word.is_ascii() {
        return word;
    }
    let mut folded = String::with_capacity(word.len());
    for c in word.nfd() {
        match c {
            // The short i of Cyrillic is a letter of its own, though it decomposes.
            '\u{306}' if folded.ends_with('и') => {
                folded.pop();
                folded.push('й');
            }
            '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' => {}
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            other => folded.push(other),
        }
    }
    // Hangul and Indic letters came apart with the rest.
    folded.nfc().collect::<String>().into()
}

#[cfg(test)]
mod tests;
