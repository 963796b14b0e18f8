//! How text falls into words: Unicode word boundaries, then what these leave to be done.
//!
//! Scripts written without spaces become overlapping pairs of characters. Identifiers (`max_attempts`,
//! `foo::bar`, `leaseMs`, `v1.2.3`) become themselves and their parts, so that both are found.

use unicode_segmentation::UnicodeSegmentation;

/// What is to be done with a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word of the language: may be a stop word, is stemmed.
    Word,
    /// A compound, a version, a pair of characters: compared as it stands.
    Verbatim,
}

/// Calls `each` with begin, end (bytes) and kind of everything that is to become a term.
///
/// `elides`: the language joins short words by an apostrophe (French `l'avion`), which parts them.
pub(super) fn split(text: &str, elides: bool, mut each: impl FnMut(usize, usize, Kind)) {
    let mut run = Run::default();
    let mut chain = Chain::default();
    for (start, word) in text.unicode_word_indices() {
        let end = start + word.len();
        if word.is_ascii() || !word.contains(is_unspaced) {
            run.end(text, &mut each);
            let end = spaced(text, start, word, elides, &mut each);
            chain.link(text, start, end, &mut each);
            continue;
        }
        chain.end(text, &mut each);
        // `C언어`: one word to Unicode, two to a reader.
        let mut from = start;
        while let Some(rest) = text.get(from..end).filter(|rest| !rest.is_empty()) {
            let unspaced = rest.starts_with(is_unspaced);
            let length = rest.find(|c| is_unspaced(c) != unspaced && !is_invisible(c)).unwrap_or(rest.len());
            if unspaced {
                run.extend(text, from, from + length, &mut each);
            } else {
                run.end(text, &mut each);
                spaced(text, from, &rest[..length], elides, &mut each);
            }
            from += length;
        }
    }
    run.end(text, &mut each);
    chain.end(text, &mut each);
}

/// A word of a script with spaces: gives its end, which lies beyond the word for names such as `C++` and `C#`.
fn spaced(text: &str, start: usize, word: &str, elides: bool, each: &mut impl FnMut(usize, usize, Kind)) -> usize {
    let end = start + word.len();
    if word.len() == 1 {
        let after = &text.as_bytes()[end..];
        let signs = if after.starts_with(b"++") { 2 } else { usize::from(after.starts_with(b"#")) };
        if signs > 0 && !after.get(signs).is_some_and(u8::is_ascii_alphanumeric) {
            each(start, end + signs, Kind::Verbatim);
            return end + signs;
        }
    }
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        each(start, end, Kind::Word);
        return end;
    }
    if elides && word.contains(is_apostrophe) {
        let mut from = start;
        for piece in word.split(is_apostrophe) {
            if !piece.is_empty() {
                each(from, from + piece.len(), Kind::Word);
            }
            from +=
                piece.len() + text.get(from + piece.len()..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8);
        }
        return end;
    }
    if word.contains(['_', '.', ':']) {
        joined(start, word, each);
    } else {
        each(start, end, Kind::Word);
        humps(start, word, false, each);
    }
    end
}

/// A word with signs inside: `max_attempts`, `v1.2.3`, `3.14`, `U.S.A`.
fn joined(start: usize, word: &str, each: &mut impl FnMut(usize, usize, Kind)) {
    let trimmed = word.trim_matches('_');
    let start = start + (word.len() - word.trim_start_matches('_').len());
    let parts = || trimmed.split(['_', '.', ':']).filter(|part| !part.is_empty());
    if parts().count() < 2 {
        each(start, start + trimmed.len(), Kind::Word);
        return humps(start, trimmed, false, each);
    }
    let initials = parts().all(|part| part.chars().nth(1).is_none() && part.starts_with(char::is_alphabetic));
    if initials && !trimmed.contains(['_', ':']) {
        return each(start, start + trimmed.len(), Kind::Word);
    }
    each(start, start + trimmed.len(), Kind::Verbatim);
    let numeric = parts().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric && parts().count() == 2 {
        return;
    }
    // `v1.2.3` is also asked for as `1.2.3`.
    let rest = trimmed.trim_start_matches(['v', 'V']);
    if rest.len() + 1 == trimmed.len() && rest.starts_with(|c: char| c.is_ascii_digit()) {
        each(start + 1, start + trimmed.len(), Kind::Verbatim);
    }
    let mut from = start;
    for part in trimmed.split(['_', '.', ':']) {
        if !part.is_empty() {
            each(from, from + part.len(), Kind::Word);
            humps(from, part, false, each);
        }
        from += part.len() + 1;
    }
}

/// The parts of `leaseMs` and `HTTPServer`, if there are at least two.
fn humps(start: usize, word: &str, mut found: bool, each: &mut impl FnMut(usize, usize, Kind)) {
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    let mut from = 0;
    for (at, window) in chars.windows(2).enumerate() {
        let (before, (offset, here)) = (window[0].1, window[1]);
        let acronym_ends = before.is_uppercase()
            && here.is_uppercase()
            && chars.get(at + 2).is_some_and(|(_, next)| next.is_lowercase())
            // `PDFs` is a plural, no compound.
            && chars.get(at + 3).is_some();
        if (before.is_lowercase() && here.is_uppercase()) || acronym_ends {
            hump(start, &word[from..offset], from, each);
            (from, found) = (offset, true);
        }
    }
    if found {
        hump(start, &word[from..], from, each);
    }
}

fn hump(start: usize, part: &str, from: usize, each: &mut impl FnMut(usize, usize, Kind)) {
    // A single letter (`iPhone`, `eBay`) says nothing.
    if part.chars().nth(1).is_some() {
        each(start + from, start + from + part.len(), Kind::Word);
    }
}

/// Words joined by `::`, or by `-` if there is a digit among them (`CVE-2024-1234`, `gpt-4o`).
#[derive(Default)]
struct Chain {
    start: usize,
    end: usize,
    links: usize,
}

impl Chain {
    fn link(&mut self, text: &str, start: usize, end: usize, each: &mut impl FnMut(usize, usize, Kind)) {
        if self.links > 0 && matches!(text.get(self.end..start), Some("::" | "-")) {
            self.end = end;
            self.links += 1;
        } else {
            self.end(text, each);
            *self = Self { start, end, links: 1 };
        }
    }

    fn end(&mut self, text: &str, each: &mut impl FnMut(usize, usize, Kind)) {
        let whole = text.get(self.start..self.end).unwrap_or_default();
        let identifier = whole.contains("::")
            || (whole.contains(|c: char| c.is_ascii_digit()) && whole.contains(|c: char| c.is_ascii_alphabetic()));
        if self.links > 1 && identifier {
            each(self.start, self.end, Kind::Verbatim);
        }
        self.links = 0;
    }
}

/// A stretch of a script without spaces, given out as overlapping pairs of characters.
///
/// Han characters also stand alone: one of them can be a word, and a question of one character must find it.
#[derive(Default)]
struct Run {
    last: Option<(usize, usize)>,
    pairs: usize,
}

impl Run {
    fn extend(&mut self, text: &str, start: usize, end: usize, each: &mut impl FnMut(usize, usize, Kind)) {
        if self.last.is_some_and(|(_, last_end)| last_end != start) {
            self.end(text, each);
        }
        for (offset, c) in text[start..end].char_indices() {
            let (from, to) = (start + offset, start + offset + c.len_utf8());
            if is_han(c) {
                each(from, to, Kind::Verbatim);
            }
            if let Some((last_start, _)) = self.last {
                each(last_start, to, Kind::Verbatim);
                self.pairs += 1;
            }
            self.last = Some((from, to));
        }
    }

    fn end(&mut self, text: &str, each: &mut impl FnMut(usize, usize, Kind)) {
        if let Some((start, end)) = self.last.take()
            && self.pairs == 0
            && !text[start..end].contains(is_han)
        {
            each(start, end, Kind::Verbatim);
        }
        self.pairs = 0;
    }
}

/// The apostrophe as typed and as typeset.
pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{2bc}' | '\u{ff07}')
}

/// Soft hyphens, zero-width signs, direction marks.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}' | '々')
}

/// Scripts whose words are not parted by spaces, and Korean, whose words carry particles.
fn is_unspaced(c: char) -> bool {
    is_han(c)
        || matches!(c,
            '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' // kana
            | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}' // Hangul
            | '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}') // Thai, Lao, Burmese, Khmer
}
