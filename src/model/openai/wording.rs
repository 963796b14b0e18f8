//! Messages that may be shown: a provider's words made short and without secrets. What they repeat of the request is
//! taken out by [`super::echo`].

/// Longest text of a provider that we repeat, in characters.
const MAX_CHARS: usize = 240;
/// Keys shorter than this are placeholders of local servers, and are words of normal messages too.
const SECRET_CHARS: usize = 8;
const MASK: &str = "***";
const SECRET_STARTS: [&str; 9] = ["sk-", "sk_", "sess-", "gsk_", "xai-", "pk-", "AIza", "eyJ", "ghp_"];

/// `text` on one line, cut to a readable length, with everything that looks like a secret masked.
pub(super) fn presentable(text: &str, key: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    // A little more than is shown is enough, whatever megabytes the provider sent.
    let mut line = line.fold(String::new(), |mut line, word| {
        if line.len() < MAX_CHARS * 8 {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        line
    });
    if key.len() >= SECRET_CHARS {
        line = line.replace(key, MASK);
    }
    shorten(&mask(&line, key))
}

fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_CHARS) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default().trim_end()),
    }
}

/// Masks words that look like keys or like a part of ours: providers repeat a wrong key, often with its
/// middle starred out.
fn mask(line: &str, key: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut after_bearer = false;
    let mut rest = line;
    while !rest.is_empty() {
        let word_end = rest.find(|c: char| !is_key_char(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word_end);
        if !word.is_empty() {
            out.push_str(if after_bearer || looks_secret(word, key) { MASK } else { word });
            after_bearer = word.eq_ignore_ascii_case("bearer");
        }
        let gap_end = tail.find(is_key_char).unwrap_or(tail.len());
        out.push_str(tail.get(..gap_end).unwrap_or_default());
        rest = tail.get(gap_end..).unwrap_or_default();
    }
    out
}

const fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.' | '+' | '=' | '/')
}

fn looks_secret(word: &str, key: &str) -> bool {
    let long = word.len() >= SECRET_CHARS;
    let of_ours = key.len() >= SECRET_CHARS && key.get(..6).is_some_and(|start| word.starts_with(start));
    of_ours || (long && (word.contains("**") || SECRET_STARTS.iter().any(|start| word.starts_with(start))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "local-0123456789abcdef";

    #[test]
    fn keys_are_masked_in_every_form_in_which_providers_repeat_them() {
        for text in [
            "Incorrect API key provided: sk-proj-abcdefghijkl. You can find",
            "Incorrect API key provided: sk-abcde*********wxyz.",
            "Incorrect API key provided: abcdef****wxyz",
            "got Bearer hush-hush-hush instead",
            "header 'local-0123456789abcdef' is wrong",
            "header local-01... is wrong",
            "token eyJhbGciOiJIUzI1NiJ9.e30.abc is expired",
        ] {
            let shown = presentable(text, KEY);
            assert!(shown.contains(MASK), "{shown}");
            for secret in ["abcde", "wxyz", "hush", "local-01", "eyJ"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    #[test]
    fn plain_words_are_left_alone() {
        let text = "model `llama3.2:1b` was not found (request req_1a2b3c), see https://docs.example/errors";
        assert_eq!(presentable(text, "ollama"), text);
    }

    #[test]
    fn a_message_is_one_short_line() {
        let shown = presentable(&"line\r\n\tnext \u{1b}[31m".repeat(1000), "");
        assert!(shown.chars().count() <= MAX_CHARS + 1 && shown.ends_with('…'));
        assert!(!shown.contains(['\n', '\r', '\t', '\u{1b}']));
        assert_eq!(presentable(&"ü".repeat(1000), "").chars().count(), MAX_CHARS + 1);
    }
}
