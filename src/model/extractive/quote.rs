//! A quotation fit to read: the passage's own words, without the marks that only made sense where it stood.

use super::candidates::Candidate;
use crate::text::sentences::{Kind, bullet};

/// The longest text of one unit, in characters.
const MAX_CHARS: usize = 360;
/// So far into a long unit its first matching word may stand before the quotation begins later.
const MAX_LEAD: usize = 240;
/// The most lines of code.
const MAX_CODE_LINES: usize = 10;

/// The units as one quotation. `matches` tells the stems of the question.
pub(super) fn quote(text: &str, units: &[Candidate], matches: impl Fn(&str) -> bool) -> String {
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
            out.push_str(if matches!(unit.kind, Kind::Item | Kind::Row) { "\n  - " } else { " " });
        }
        out.push_str(&cut(&line, &matches));
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

/// A long line cut at words: from its beginning, or from before its first matching word if that is far in.
fn cut(line: &str, matches: &impl Fn(&str) -> bool) -> String {
    if line.chars().count() <= MAX_CHARS {
        return line.to_owned();
    }
    let words: Vec<&str> = line.split(' ').collect();
    // Stems are close to the beginnings of their words, which is enough to find the place.
    let hit = |word: &&str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        (3..=word.len()).any(|end| word.get(..end).is_some_and(matches))
    };
    let lead = |at: usize| words.iter().take(at).map(|word| word.chars().count() + 1).sum::<usize>();
    let start = match words.iter().position(hit) {
        Some(at) if lead(at) > MAX_LEAD => at.saturating_sub(8),
        _ => 0,
    };
    let mut out = if start > 0 { "… ".to_owned() } else { String::new() };
    let mut length = out.chars().count();
    let mut whole = true;
    for (n, word) in words.iter().skip(start).enumerate() {
        length += word.chars().count() + 1;
        if length > MAX_CHARS {
            whole = false;
            // A single word as long as a page is cut within.
            if n == 0 {
                out.extend(word.chars().take(MAX_CHARS));
            }
            break;
        }
        out.push_str(word);
        out.push(' ');
    }
    let mut out = out.trim_end().trim_end_matches([',', ';', ':']).to_owned();
    if !whole {
        out.push_str(" …");
    }
    out
}

/// A single line of code stands in the text, several as a block within the list item.
fn push_code(out: &mut String, block: &str) {
    let inner: Vec<&str> = block.lines().skip(1).filter(|line| !is_fence(line)).collect();
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
