//! From the lines of a page to its paragraphs: which lines go on, which begin anew, how a sentence is put together again.
//!
//! A line goes on with its paragraph unless its distance, its type or its indent speaks against it.

use super::Line;
use crate::extract::blocks::{Draft, Kind};

/// Lines that belong together.
#[derive(Debug)]
pub(super) struct Paragraph {
    pub text: String,
    /// How it is set apart from the one before.
    pub gap: &'static str,
    pub size: f64,
    pub lines: usize,
}

/// The usual distance of lines on a page, in sizes of its type.
fn usual_pitch(lines: &[Line]) -> f64 {
    let mut pitches: Vec<f64> = lines
        .windows(2)
        .map(|pair| (pair[1].down - pair[0].down) / pair[1].size)
        .filter(|pitch| (0.7..3.0).contains(pitch))
        .collect();
    pitches.sort_by(f64::total_cmp);
    pitches.get(pitches.len() / 2).copied().unwrap_or(1.2)
}

/// The paragraphs of a page.
pub(super) fn paragraphs(lines: &[Line]) -> Vec<Paragraph> {
    let pitch = usual_pitch(lines);
    let mut out = Vec::new();
    let mut from = 0;
    let mut gap = "\n\n";
    for at in 1..=lines.len() {
        let next_gap = match lines.get(at) {
            None => Some("\n\n"),
            Some(line) => break_before(&lines[from..at], line, pitch),
        };
        if let Some(next_gap) = next_gap {
            out.push(join(&lines[from..at], gap));
            (from, gap) = (at, next_gap);
        }
    }
    out
}

/// Whether `line` begins a paragraph after the lines `before`, and how far it is set apart.
fn break_before(before: &[Line], line: &Line, pitch: f64) -> Option<&'static str> {
    let last = before.last()?;
    let em = line.size.max(last.size);
    let step = line.down - last.down;
    let other_type = (line.size / last.size).max(last.size / line.size) > 1.12;
    if line.along.dot(last.along) < 0.99 || other_type || step < 0.3 * em || step > (pitch + 0.35) * em {
        return Some("\n\n");
    }
    if begins_item(line) {
        return Some("\n");
    }
    let hangs = before.len() == 1 && begins_item(last);
    let indented = line.left > last.left + 0.8 * em && !hangs;
    indented.then_some(if line.text.starts_with(char::is_uppercase) { "\n\n" } else { "\n" })
}

/// Whether a line begins an item of a list.
fn begins_item(line: &Line) -> bool {
    let mut chars = line.text.chars();
    match chars.next() {
        Some('•' | '◦' | '▪' | '‣' | '●' | '○' | '■' | '∙' | '·' | '*') => true,
        Some('-' | '–' | '—') => chars.next() == Some(' '),
        Some(c) if c.is_ascii_digit() => {
            let rest = chars.as_str().trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with(". ") || rest.starts_with(") ")
        }
        _ => false,
    }
}

fn join(lines: &[Line], gap: &'static str) -> Paragraph {
    let left = lines.iter().map(|line| line.left).fold(f64::INFINITY, f64::min);
    let right = lines.iter().map(|line| line.right).fold(f64::NEG_INFINITY, f64::max);
    let mut text = String::new();
    let mut ended_early = false;
    for line in lines {
        // A divided word goes on, wherever its line ended.
        if ended_early && !divides_word(&text, &line.text) {
            text.push('\n');
            text.push_str(&line.text);
        } else {
            join_line(&mut text, &line.text);
        }
        ended_early = line.entry || line.right < right - 0.3 * (right - left);
    }
    Paragraph { text, gap, size: lines[0].size, lines: lines.len() }
}

/// Appends a line to the sentence before it, putting together a word divided at the line's end.
fn join_line(text: &mut String, line: &str) {
    let divided = divides_word(text, line);
    if divided && !last_word(text.trim_end_matches('-')).contains('-') {
        text.pop();
    } else if !(text.is_empty() || divided || wide_end(text) && line.starts_with(is_wide)) {
        text.push(' ');
    }
    text.push_str(line);
}

/// Whether a word is divided between `text` and `line`, or a compound at its hyphen.
fn divides_word(text: &str, line: &str) -> bool {
    let before = text.trim_end_matches('-');
    before.len() + 1 == text.len() && before.ends_with(char::is_alphabetic) && line.starts_with(char::is_lowercase)
}

fn last_word(text: &str) -> &str {
    text.rsplit(char::is_whitespace).next().unwrap_or_default()
}

fn wide_end(text: &str) -> bool {
    text.ends_with(is_wide)
}

/// Whether the character belongs to a script that sets no spaces between words.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

/// Goes on with a paragraph that a page break interrupted.
pub(super) fn carry_over(draft: &mut Draft, next: &Paragraph) -> bool {
    let body = draft.blocks.last().is_some_and(|block| block.kind == Kind::Body);
    let open = draft.text.ends_with(|c: char| c.is_alphabetic() || matches!(c, ',' | '-'));
    let goes_on = body && open && next.text.starts_with(char::is_lowercase);
    if goes_on {
        join_line(&mut draft.text, &next.text);
    }
    goes_on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divided_word_is_put_together_but_not_a_compound() {
        for (first, second, want) in [
            ("the recon-", "ciler works", "the reconciler works"),
            ("state-of-", "the-art", "state-of-the-art"),
            ("pages 3 -", "and more", "pages 3 - and more"),
            ("漢字の", "文章", "漢字の文章"),
        ] {
            let mut text = first.to_owned();
            join_line(&mut text, second);
            assert_eq!(text, want);
        }
    }
}
