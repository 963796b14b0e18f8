//! What is known of each language (stemmer, stop words) and how a text's language is told.
//!
//! Stop words are NLTK's where it has them, else those of the ISO collection; languages without a snowball
//! stemmer are searched by whole words.

use std::{borrow::Cow, collections::HashSet, sync::OnceLock};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;
use whatlang::Lang;

use super::{fold, normalize, spelling};

/// One language.
#[derive(Debug)]
pub(super) struct Language {
    /// ISO 639-1, or 639-3 where there is none.
    pub(super) code: &'static str,
    /// Joins short words to the next by an apostrophe.
    pub(super) elides: bool,
    detected_as: Lang,
    stemmer: Option<Algorithm>,
    has_stop_words: bool,
    stop_words: OnceLock<HashSet<Cow<'static, str>>>,
}

impl Language {
    const fn new(code: &'static str, detected_as: Lang) -> Self {
        let (stemmer, elides) = (None, false);
        Self { code, elides, detected_as, stemmer, has_stop_words: false, stop_words: OnceLock::new() }
    }

    const fn stemmed(mut self, algorithm: Algorithm) -> Self {
        self.stemmer = Some(algorithm);
        self
    }

    const fn stopped(mut self) -> Self {
        self.has_stop_words = true;
        self
    }

    const fn eliding(mut self) -> Self {
        self.elides = true;
        self
    }

    /// The stem of a normalised word, diacritics still on it.
    pub(super) fn stem<'w>(&self, word: &'w str) -> Cow<'w, str> {
        match self.stemmer {
            Some(Algorithm::English) => Stemmer::create(Algorithm::English).stem(spelling::american(word)),
            Some(algorithm) => Stemmer::create(algorithm).stem(word),
            None => word.into(),
        }
    }

    /// Whether a normalised word is a stop word.
    pub(super) fn is_stop_word(&self, word: &str) -> bool {
        if !self.has_stop_words {
            return false;
        }
        let stop_words = self.stop_words.get_or_init(|| {
            let mut set = HashSet::new();
            for word in stop_words::get(self.code) {
                set.insert(Cow::Borrowed(*word));
                // Questions are often typed without diacritics.
                set.insert(fold(Cow::Borrowed(word)));
            }
            set
        });
        stop_words.contains(word)
    }

    /// How many words of the text are stop words.
    pub(super) fn stop_words_in(&self, text: &str) -> usize {
        text.unicode_words().filter(|word| self.is_stop_word(&normalize(word))).count()
    }
}

static LANGUAGES: [Language; 70] = [
    Language::new("en", Lang::Eng).stemmed(Algorithm::English).stopped(),
    Language::new("de", Lang::Deu).stemmed(Algorithm::German).stopped(),
    Language::new("fr", Lang::Fra).stemmed(Algorithm::French).stopped().eliding(),
    Language::new("es", Lang::Spa).stemmed(Algorithm::Spanish).stopped(),
    Language::new("it", Lang::Ita).stemmed(Algorithm::Italian).stopped().eliding(),
    Language::new("pt", Lang::Por).stemmed(Algorithm::Portuguese).stopped(),
    Language::new("nl", Lang::Nld).stemmed(Algorithm::Dutch).stopped(),
    Language::new("sv", Lang::Swe).stemmed(Algorithm::Swedish).stopped(),
    Language::new("da", Lang::Dan).stemmed(Algorithm::Danish).stopped(),
    Language::new("no", Lang::Nob).stemmed(Algorithm::Norwegian).stopped(),
    Language::new("fi", Lang::Fin).stemmed(Algorithm::Finnish).stopped(),
    Language::new("hu", Lang::Hun).stemmed(Algorithm::Hungarian).stopped(),
    Language::new("ro", Lang::Ron).stemmed(Algorithm::Romanian).stopped(),
    Language::new("ru", Lang::Rus).stemmed(Algorithm::Russian).stopped(),
    Language::new("tr", Lang::Tur).stemmed(Algorithm::Turkish).stopped(),
    Language::new("ar", Lang::Ara).stemmed(Algorithm::Arabic).stopped(),
    Language::new("el", Lang::Ell).stemmed(Algorithm::Greek).stopped(),
    Language::new("ta", Lang::Tam).stemmed(Algorithm::Tamil),
    Language::new("pl", Lang::Pol).stopped(),
    Language::new("cs", Lang::Ces).stopped(),
    Language::new("sk", Lang::Slk).stopped(),
    Language::new("uk", Lang::Ukr).stopped(),
    Language::new("bg", Lang::Bul).stopped(),
    Language::new("hr", Lang::Hrv).stopped(),
    Language::new("sl", Lang::Slv).stopped(),
    Language::new("et", Lang::Est).stopped(),
    Language::new("lv", Lang::Lav).stopped(),
    Language::new("lt", Lang::Lit).stopped(),
    Language::new("ca", Lang::Cat).stopped().eliding(),
    Language::new("vi", Lang::Vie).stopped(),
    Language::new("id", Lang::Ind).stopped(),
    Language::new("tl", Lang::Tgl).stopped(),
    Language::new("fa", Lang::Pes).stopped(),
    Language::new("he", Lang::Heb).stopped(),
    Language::new("hi", Lang::Hin).stopped(),
    Language::new("bn", Lang::Ben).stopped(),
    Language::new("mr", Lang::Mar).stopped(),
    Language::new("gu", Lang::Guj).stopped(),
    Language::new("ne", Lang::Nep).stopped(),
    Language::new("ur", Lang::Urd).stopped(),
    Language::new("hy", Lang::Hye).stopped(),
    Language::new("az", Lang::Aze).stopped(),
    Language::new("af", Lang::Afr).stopped(),
    Language::new("zu", Lang::Zul).stopped(),
    Language::new("la", Lang::Lat).stopped(),
    Language::new("eo", Lang::Epo).stopped(),
    Language::new("zh", Lang::Cmn),
    Language::new("ja", Lang::Jpn),
    Language::new("ko", Lang::Kor),
    Language::new("th", Lang::Tha),
    Language::new("my", Lang::Mya),
    Language::new("km", Lang::Khm),
    Language::new("be", Lang::Bel),
    Language::new("sr", Lang::Srp),
    Language::new("mk", Lang::Mkd),
    Language::new("ka", Lang::Kat),
    Language::new("yi", Lang::Yid),
    Language::new("am", Lang::Amh),
    Language::new("jv", Lang::Jav),
    Language::new("kn", Lang::Kan),
    Language::new("uz", Lang::Uzb),
    Language::new("pa", Lang::Pan),
    Language::new("te", Lang::Tel),
    Language::new("ml", Lang::Mal),
    Language::new("or", Lang::Ori),
    Language::new("si", Lang::Sin),
    Language::new("tk", Lang::Tuk),
    Language::new("ak", Lang::Aka),
    Language::new("sn", Lang::Sna),
    Language::new("cy", Lang::Cym),
];

static ENGLISH: &Language = &LANGUAGES[0];

/// How much text is looked at, in three pieces: the front matter of a document may be in another language.
const SAMPLE_PIECE: usize = 1_200;

/// The language with this code, else English.
pub(super) fn by_code(code: &str) -> &'static Language {
    LANGUAGES.iter().find(|language| language.code == code).unwrap_or(ENGLISH)
}

/// The language of the text, English if that can't be told.
///
/// Letter statistics decide where they are sure of themselves and stop words don't speak against it; short
/// texts in Latin letters are decided by their stop words.
pub(super) fn detect(text: &str) -> &'static Language {
    let sample = sample(text);
    let Some(info) = whatlang::detect(&sample) else { return ENGLISH };
    let guess = LANGUAGES.iter().find(|language| language.detected_as == info.lang()).unwrap_or(ENGLISH);
    if info.script() != whatlang::Script::Latin {
        return guess;
    }
    let english = ENGLISH.stop_words_in(&sample);
    if info.is_reliable() && (!guess.has_stop_words || guess.stop_words_in(&sample) > english) {
        return guess;
    }
    let by_stop_words = LANGUAGES.iter().filter(|language| language.has_stop_words && language.stemmer.is_some());
    let counted = by_stop_words.map(|language| (language.stop_words_in(&sample), language));
    match counted.max_by_key(|(count, language)| (*count, language.code == "en")) {
        Some((count, language)) if count >= 2 && count > english => language,
        _ => ENGLISH,
    }
}

fn sample(text: &str) -> Cow<'_, str> {
    if text.len() <= 3 * SAMPLE_PIECE {
        return text.into();
    }
    let piece = |from: usize| {
        let start = text.floor_char_boundary(from);
        &text[start..text.floor_char_boundary(start + SAMPLE_PIECE)]
    };
    [piece(0), piece(text.len() / 3), piece(text.len() / 3 * 2)].join("\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_its_own_code_and_the_stop_words_it_claims() {
        let mut codes = HashSet::new();
        for language in &LANGUAGES {
            assert!(codes.insert(language.code), "{} twice", language.code);
            // Panics for a language without a list.
            language.is_stop_word("x");
            assert_eq!(by_code(language.code).code, language.code);
        }
        for lang in Lang::all() {
            assert!(LANGUAGES.iter().any(|language| language.detected_as == *lang), "{lang} is not in the table");
        }
    }
}
