//! What of a provider's message repeats the request: a validation error of some servers holds all of it.
//!
//! The message comes on one line, perhaps with the request's text as JSON or a Python literal inside it. So neither side
//! is compared as it stands but by its [`Glyphs`], which no such writing changes.

use std::{cmp::Ordering, collections::HashMap};

/// So many glyphs in a row that were also sent repeat what was sent.
const ECHO: usize = 20;
/// A text of fewer glyphs is made of words that every message may hold.
const SHORTEST: usize = 7;

/// `message` up to where it begins to repeat one of the texts that were sent; takes time in proportion to these.
pub(super) fn without_echo<'a>(message: &str, sent: impl IntoIterator<Item = &'a str>) -> String {
    let (places, said): (Vec<usize>, Vec<char>) = Glyphs::of(message).unzip();
    let mut first_of_row = HashMap::new();
    for (at, row) in said.windows(ECHO).enumerate() {
        first_of_row.entry(row).or_insert(at);
    }
    let repeated = |text: &str| {
        let text: Vec<char> = Glyphs::of(text).map(|(_, glyph)| glyph).collect();
        match text.len().cmp(&ECHO) {
            Ordering::Less if text.len() < SHORTEST => None,
            Ordering::Less => said.windows(text.len()).position(|row| row == text),
            Ordering::Equal | Ordering::Greater => {
                text.windows(ECHO).filter_map(|row| first_of_row.get(row)).min().copied()
            }
        }
    };
    let echo = sent.into_iter().filter_map(repeated).min();
    match echo.and_then(|glyph| message.get(..*places.get(glyph)?)) {
        None => message.to_owned(),
        Some(own) => format!("{} [the rest repeats the request]", own.trim_end().trim_end_matches('\\')),
    }
}

/// The characters of a text that stay the same however it is quoted, and where they stand: none that are blank, no
/// backslashes, the characters that `\u00e9` and `\xe9` mean, and none that JSON writes as two of these.
struct Glyphs<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Glyphs<'t> {
    const fn of(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes by a character and what belongs to it; what it stands for.
    fn pass(&mut self) -> Option<char> {
        let rest = self.text.get(self.at..)?;
        let character = rest.chars().next()?;
        self.at += character.len_utf8();
        if character != '\\' {
            return Some(character);
        }
        let escaped = rest.trim_start_matches('\\');
        self.at += rest.len() - escaped.len() - 1;
        let digits = match escaped.bytes().next() {
            // Line breaks and tabs.
            Some(b'n' | b'r' | b't' | b'f' | b'v' | b'b') => 0,
            Some(b'u') => 4,
            Some(b'x') => 2,
            Some(b'U') => 8,
            _ => return Some(' '),
        };
        let digits = escaped.get(1..=digits);
        let code = match digits {
            Some("") => Some(u32::from(' ')),
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                u32::from_str_radix(digits, 16).ok()
            }
            _ => None,
        };
        if let (Some(digits), Some(_)) = (digits, code) {
            self.at += 1 + digits.len();
        }
        Some(code.and_then(char::from_u32).unwrap_or(' '))
    }
}

impl Iterator for Glyphs<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let glyph = self.pass()?;
            if !glyph.is_whitespace() && !glyph.is_control() && glyph <= '\u{ffff}' {
                return Some((at, glyph));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_prompt_is_left_out() {
        let prompt = "Who signs the contracts with the suppliers of hall four?";
        let shown = without_echo(&format!("bad input: {{'content': '{prompt}'}}"), ["You are ragq", prompt]);
        assert_eq!(shown, "bad input: {'content': ' [the rest repeats the request]");
        let short = without_echo("can't do: Is it safe?", ["Is it safe?"]);
        assert!(!short.contains("safe"), "{short}");
        assert_eq!(without_echo("max_tokens is too large", [prompt]), "max_tokens is too large");
        assert_eq!(without_echo("no such thing: x", ["thing"]), "no such thing: x", "words are no prompt");
    }

    #[test]
    fn a_prompt_is_known_in_whatever_way_it_is_written_into_the_message() {
        let passage = "Bob: 4711\nEve: 1234\r\n\tZoë 😀: \"C:\\new\"\nJoe: 99\n";
        let json = json!(passage).to_string();
        let ascii = json.replace('ë', "\\u00eb").replace('😀', "\\ud83d\\ude00");
        for quoted in [
            passage.to_owned(),
            passage.split_whitespace().collect::<Vec<_>>().join(" "),
            passage.replace(['\n', '\r', '\t'], ""),
            json!(json).to_string(),
            json!(ascii).to_string(),
            ascii,
            json,
            // A Python literal.
            r#"'Bob: 4711\nEve: 1234\r\n\tZo\xeb \U0001f600: "C:\\new"\nJoe: 99\n'"#.to_owned(),
        ] {
            let shown = without_echo(&format!("invalid input: {quoted}"), ["You are ragq", passage]);
            assert!(shown.ends_with("[the rest repeats the request]"), "{quoted}: {shown}");
            for secret in ["Bob", "4711", "Eve", "1234", "new", "99"] {
                assert!(!shown.contains(secret), "{quoted}: {shown}");
            }
        }
    }

    #[test]
    fn the_message_is_cut_where_the_first_of_all_texts_begins() {
        let texts = ["The second text that was sent.", "The first text that was sent."];
        let message = format!("see {} and {}", texts[1], texts[0]);
        assert_eq!(without_echo(&message, texts), "see [the rest repeats the request]");
    }

    proptest! {
        #[test]
        fn no_text_gets_through_as_json(text in "[a-z0-9 \\n\\\\\"'/éß😀]{30,60}") {
            prop_assume!(Glyphs::of(&text).count() >= ECHO);
            let shown = without_echo(&format!("# {}", json!(text)), [text.as_str()]);
            prop_assert!(shown.starts_with("# ") && shown.ends_with("[the rest repeats the request]"), "{shown}");
            let quoted = Glyphs::of(&shown).count() - Glyphs::of("# [the rest repeats the request]").count();
            prop_assert!(quoted <= 1, "{shown}");
        }
    }
}
