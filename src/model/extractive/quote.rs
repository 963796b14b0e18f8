//! A quotation fit to read: the passage's own words, without the marks that only made sense where it stood.

use std::collections::HashSet;

use super::candidates::{Candidate, Stems};
use crate::text::{
    analysis::Analyzer,
    sentences::{Kind, bullet},
};

/// The longest text of one unit, in characters.
const MAX_CHARS: usize = 360;
/// So many characters before the first matching word a quotation from the middle may begin.
const LEAD: usize = 100;
/// The most lines of code.
const MAX_CODE_LINES: usize = 14;

/// What a quotation is for: where it must be cut, these stems are kept.
pub(super) struct Wanted<'a> {
    /// The question's stems.
    pub(super) stems: &'a Stems,
    /// What finds them in a text.
    pub(super) analyzer: Analyzer,
}

/// The units as one quotation.
pub(super) fn quote(text: &str, units: &[Candidate], wanted: &Wanted<'_>) -> String {
    let mut out = String::new();
    for (n, unit) in units.iter().enumerate() {
        let own = text.get(unit.range.clone()).unwrap_or_default();
        if unit.kind == Kind::Code {
            push_code(&mut out, own);
            continue;
        }
        let line = without_citations(&collapse(&without_marks(unit.kind, own)));
        if n > 0 {
            // Items of a quoted list stay a list, one level in.
            // On the line of a closing fence a sentence would keep the block open.
            let fenced = out.ends_with("```") || out.ends_with("~~~");
            out.push_str(match unit.kind {
                Kind::Item | Kind::Row => "\n  - ",
                _ if fenced => "\n  ",
                _ => " ",
            });
        }
        out.push_str(&cut(&line, wanted));
    }
    out.trim().to_owned()
}

/// The unit without its list mark, table bars or quotation marks at the beginning of lines.
fn without_marks(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Item => {
            let item = text.get(bullet(text)..).unwrap_or_default();
            let boxed = ["[ ] ", "[x] ", "[X] "].iter().find_map(|mark| item.strip_prefix(mark));
            boxed.unwrap_or(item).to_owned()
        }
        Kind::Row | Kind::TableHead => text.trim_matches('|').to_owned(),
        Kind::Heading => text.trim_matches('#').to_owned(),
        Kind::Sentence | Kind::Code => {
            let line = |line: &str| line.trim_start().trim_start_matches("> ").to_owned();
            text.lines().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `[3]` in a document is a note of its own; here it would cite the third passage.
fn without_citations(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let digits = from.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        if digits > 0 && from.as_bytes().get(digits + 1) == Some(&b']') {
            rest = from.get(digits + 2..).unwrap_or_default();
            // Neither the note nor the space before it.
            out.truncate(out.trim_end().len());
        } else {
            out.push('[');
            rest = from.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// A long line cut at words: the stretch of it that holds most of the question's stems, from its
/// beginning if that is as good as any.
fn cut(line: &str, wanted: &Wanted<'_>) -> String {
    if line.chars().count() <= MAX_CHARS {
        return line.to_owned();
    }
    let hits: Vec<(usize, String)> = wanted
        .analyzer
        .terms(line)
        .into_iter()
        .filter(|term| wanted.stems.contains(&term.stem))
        .map(|term| (term.start, term.stem))
        .collect();
    let within = |from: usize| {
        let held = hits.iter().filter(|(at, _)| (from..end_of(line, from)).contains(at));
        held.map(|(_, stem)| stem).collect::<HashSet<_>>().len()
    };
    let mut start = (0, within(0));
    for (at, _) in &hits {
        let from = lead_in(line, *at);
        let held = within(from);
        if held > start.1 {
            start = (from, held);
        }
    }
    let (start, end) = (start.0, end_of(line, start.0));
    let text = line.get(start..end).unwrap_or_default().trim().trim_end_matches([',', ';', ':']);
    let before = if start > 0 { "… " } else { "" };
    let after = if end < line.len() { " …" } else { "" };
    format!("{before}{text}{after}")
}

/// Where a quotation that begins at `from` ends: at a word, unless a single word is longer.
fn end_of(line: &str, from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    match rest.char_indices().nth(MAX_CHARS) {
        None => line.len(),
        Some((limit, _)) => {
            from + rest.get(..limit).and_then(|kept| kept.rfind(' ')).filter(|end| *end > 0).unwrap_or(limit)
        }
    }
}

/// Where to begin a quotation so that the word at `at` has some words before it: after the last end of a
/// clause, or a few words earlier.
fn lead_in(line: &str, at: usize) -> usize {
    let before = line.get(..at).unwrap_or_default();
    let near = before.char_indices().rev().nth(LEAD).map_or(0, |(near, _)| near);
    let stretch = before.get(near..).unwrap_or_default();
    let clause =
        ["; ", ". ", ": ", " · ", " | "].iter().filter_map(|mark| Some(stretch.rfind(mark)? + mark.len())).max();
    near + clause.or_else(|| stretch.find(' ').map(|space| space + 1)).unwrap_or(0)
}

/// A single line of code stands in the text, several as a block within the list item.
fn push_code(out: &mut String, block: &str) {
    let inner: Vec<&str> = block.lines().filter(|line| !is_fence(line)).collect();
    let indent =
        inner.iter().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len()).min();
    let line = |line: &&str| line.get(indent.unwrap_or(0)..).unwrap_or_default().trim_end().to_owned();
    let lines: Vec<String> = inner.iter().map(line).collect();
    let written: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
    if let [only] = written.as_slice()
        && !only.contains('`')
        && only.chars().count() <= MAX_CHARS
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push('`');
        out.push_str(only.trim());
        out.push('`');
        return;
    }
    let fence = block.lines().next().map_or("```", |first| if first.trim().starts_with("~~~") { "~~~" } else { "```" });
    if !out.is_empty() {
        out.push_str("\n  ");
    }
    out.push_str(fence);
    for line in lines.iter().take(MAX_CODE_LINES) {
        out.push_str("\n  ");
        out.push_str(&line.chars().take(MAX_CHARS).collect::<String>());
    }
    if lines.len() > MAX_CODE_LINES {
        out.push_str("\n  …");
    }
    out.push_str("\n  ");
    out.push_str(fence);
}

fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_for(line: &str, question: &str) -> String {
        let analyzer = Analyzer::for_language("en");
        let stems = analyzer.terms(question).into_iter().map(|term| term.stem).collect();
        cut(line, &Wanted { stems: &stems, analyzer })
    }

    #[test]
    fn a_long_line_is_cut_at_words_around_what_was_asked_for() {
        let filler = "nothing of interest here ".repeat(30);
        let line = format!("{filler}and so on; the lighthouse keeper sleeps at noon. {filler}");
        let shown = cut_for(&line, "When does the lighthouse keeper sleep?");
        assert!(shown.starts_with("… the lighthouse keeper sleeps at noon."), "{shown}");
        assert!(shown.ends_with(" …") && shown.chars().count() <= MAX_CHARS + 4, "{shown}");
        assert!(cut_for(&line, "unrelated").starts_with("nothing of interest"));
        assert_eq!(cut_for("short", "x"), "short");
    }

    #[test]
    fn a_word_as_long_as_a_page_is_cut_within() {
        assert_eq!(cut_for(&"ü".repeat(5_000), "x").chars().count(), MAX_CHARS + 2);
    }

    #[test]
    fn notes_of_the_document_are_no_citations() {
        assert_eq!(
            without_citations("So it is [12][3]. See [the docs](x) and a[i] [note 4]."),
            "So it is. See [the docs](x) and a[i] [note 4]."
        );
    }

    #[test]
    fn marks_are_taken_off_where_they_made_sense_only_in_place() {
        for (kind, text, shown) in [
            (Kind::Item, "- [ ] do it", "do it"),
            (Kind::Item, "12) do it", "do it"),
            (Kind::Row, "| a | b |", " a | b "),
            (Kind::Sentence, "> quoted\n> twice", "quoted\ntwice"),
        ] {
            assert_eq!(without_marks(kind, text), shown);
        }
    }

    #[test]
    fn one_line_of_code_stands_in_the_text_and_several_in_a_block() {
        let code = |block: &str| {
            let mut out = "Run:".to_owned();
            push_code(&mut out, block);
            out
        };
        assert_eq!(code("```sh\n  ragq up\n```"), "Run: `ragq up`");
        assert_eq!(code("```sh\n  a\n    b\n```"), "Run:\n  ```\n  a\n    b\n  ```");
        assert!(code(&format!("```\n{}```", "x\n".repeat(50))).contains('…'));
    }
}
