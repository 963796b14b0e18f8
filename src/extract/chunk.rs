//! Cuts a text into chunks along its structure.
//!
//! Pure. Blocks are packed into chunks up to the aimed size; a block is cut only when it alone is larger.
//! A heading, or the head of a table, goes with what follows it. A new section begins a new chunk unless
//! one of the two neighbours is so small that it would be found badly alone. Work grows with the length of
//! the text, whatever is in it.

use text_splitter::{ChunkConfig, TextSplitter};
use unicode_segmentation::GraphemeCursor;

use super::{
    blocks::{Block, Kind},
    protocol::Span,
};

/// A piece of text this long is handed to the splitter at a time: it looks far ahead, so that its work on
/// one long piece would grow faster than the piece.
const WINDOW_BYTES: usize = 16 * 1024;

/// Smallest size that can be aimed at, in characters.
const MIN_CHUNK_CHARS: usize = 64;

/// Cuts `text` into chunks of about `chunk_chars` characters, never more than twice that.
pub(super) fn split(text: &str, blocks: &[Block], chunk_chars: usize) -> Vec<Span> {
    let outline = Outline::new(text, blocks, chunk_chars.max(MIN_CHUNK_CHARS));
    let packed = outline.pack();
    let merged = outline.merge_tiny(packed);
    merged.into_iter().filter_map(|(from, to)| outline.span(from, to)).collect()
}

/// A block, or a part of one that is larger than a chunk.
struct Unit {
    start: usize,
    end: usize,
    chars: usize,
    role: Role,
    /// The innermost heading that it stands under (its own, for a heading), as an index of `headings`.
    under: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Heading(u8),
    TableHead,
    Body,
}

impl Unit {
    /// Whether it belongs to what follows.
    fn leads(&self) -> bool {
        self.role != Role::Body
    }
}

struct Heading<'a> {
    level: u8,
    title: &'a str,
    parent: Option<usize>,
}

struct Outline<'a> {
    text: &'a str,
    target: usize,
    /// The level of the outermost headings.
    top: u8,
    headings: Vec<Heading<'a>>,
    units: Vec<Unit>,
}

impl<'a> Outline<'a> {
    fn new(text: &'a str, blocks: &'a [Block], target: usize) -> Self {
        let mut outline = Self { text, target, top: u8::MAX, headings: Vec::new(), units: Vec::new() };
        let first = blocks.first().map_or(text.len(), |block| block.start);
        outline.add(0, first, Role::Body, None);
        let mut under = None;
        for (at, block) in blocks.iter().enumerate() {
            let end = blocks.get(at + 1).map_or(text.len(), |next| next.start);
            let role = match &block.kind {
                Kind::Heading { level, title } => {
                    let parent = outline.parent_of(under, *level);
                    outline.headings.push(Heading { level: *level, title, parent });
                    outline.top = outline.top.min(*level);
                    under = Some(outline.headings.len() - 1);
                    Role::Heading(*level)
                }
                Kind::TableHead => Role::TableHead,
                Kind::Body => Role::Body,
            };
            outline.add(block.start, end, role, under);
        }
        outline
    }

    /// The nearest heading from `under` outwards that is further out than `level`.
    fn parent_of(&self, mut under: Option<usize>, level: u8) -> Option<usize> {
        while let Some(at) = under {
            if self.headings[at].level < level {
                break;
            }
            under = self.headings[at].parent;
        }
        under
    }

    fn add(&mut self, start: usize, end: usize, role: Role, under: Option<usize>) {
        if start >= end {
            return;
        }
        let chars = self.text[start..end].chars().count();
        let limit = if role == Role::Body { self.target } else { self.target / 4 };
        if chars <= limit {
            self.units.push(Unit { start, end, chars, role, under });
        } else if chars <= self.target {
            // Too long to be kept with what follows, as a table's head of a hundred columns.
            self.units.push(Unit { start, end, chars, role: Role::Body, under });
        } else {
            self.add_parts(start, end, chars, under);
        }
    }

    /// Cuts what is larger than a chunk at sentences, lines or words, into parts of about equal size.
    fn add_parts(&mut self, start: usize, end: usize, chars: usize, under: Option<usize>) {
        let parts = chars.div_ceil(self.target);
        let least = (chars.div_ceil(parts) * 11 / 10).min(self.target);
        let splitter = TextSplitter::new(ChunkConfig::new(least..=self.target).with_trim(false));
        let mut from = start;
        while from < end {
            let to = window_end(self.text, from, end);
            let mut starts: Vec<usize> =
                splitter.chunk_indices(&self.text[from..to]).map(|(at, _)| from + at).collect();
            starts.push(to);
            // Whatever the splitter leaves out before its first part belongs to that part.
            starts[0] = from;
            for pair in starts.windows(2) {
                let chars = self.text[pair[0]..pair[1]].chars().count();
                self.units.push(Unit { start: pair[0], end: pair[1], chars, role: Role::Body, under });
            }
            from = to;
        }
    }

    /// Characters from each heading to the next, by index of the unit; zero for the rest. Headings that
    /// follow one another directly count as one section.
    fn section_chars(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.units.len()];
        let (mut size, mut body) = (0, false);
        for (at, unit) in self.units.iter().enumerate().rev() {
            if matches!(unit.role, Role::Heading(_)) {
                size += unit.chars;
                sizes[at] = size;
                let previous_is_heading = at > 0 && matches!(self.units[at - 1].role, Role::Heading(_));
                if !previous_is_heading && body {
                    (size, body) = (0, false);
                }
            } else {
                size += unit.chars;
                body = true;
            }
        }
        sizes
    }

    /// Packs the units into chunks, as ranges of their indexes.
    fn pack(&self) -> Vec<(usize, usize)> {
        let sections = self.section_chars();
        let mut packed = Vec::new();
        let (mut from, mut chars, mut body) = (0, 0, false);
        for (at, unit) in self.units.iter().enumerate() {
            let cut = match unit.role {
                Role::Heading(level) => {
                    let begins_section = body && !self.units[at - 1].leads();
                    let heads_only = !body && chars + unit.chars > self.target / 2;
                    ((begins_section && !self.joins(chars, sections[at], level)) || (heads_only && at > from))
                        .then_some(at)
                }
                Role::TableHead => (!body && at > from && chars + unit.chars > self.target / 2).then_some(at),
                Role::Body if body && chars + unit.chars > self.target => {
                    let leads = self.units[from..at].iter().rev().take_while(|unit| unit.leads()).count();
                    Some(at - leads)
                }
                Role::Body => None,
            };
            if let Some(cut) = cut {
                packed.push((from, cut));
                from = cut;
                chars = self.units[cut..at].iter().map(|unit| unit.chars).sum();
                body = false;
            }
            chars += unit.chars;
            body |= !unit.leads();
        }
        if from < self.units.len() {
            packed.push((from, self.units.len()));
        }
        packed
    }

    /// Whether a section goes into the chunk that the one before it is in.
    fn joins(&self, chars: usize, section: usize, level: u8) -> bool {
        let small = if level <= self.top { self.target / 10 } else { self.target / 3 };
        chars + section <= self.target && (chars < small || section < small)
    }

    /// Gives chunks too small to stand alone to the one before them.
    fn merge_tiny(&self, packed: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
        let size = |(from, to): (usize, usize)| self.units[from..to].iter().map(|unit| unit.chars).sum::<usize>();
        let mut merged: Vec<((usize, usize), usize)> = Vec::with_capacity(packed.len());
        for range in packed {
            let chars = size(range);
            let at_top = matches!(self.units[range.0].role, Role::Heading(level) if level <= self.top);
            match merged.last_mut() {
                Some((last, before))
                    if !at_top && chars < self.target / 10 && *before + chars <= self.target * 5 / 4 =>
                {
                    last.1 = range.1;
                    *before += chars;
                }
                _ => merged.push((range, chars)),
            }
        }
        merged.into_iter().map(|(range, _)| range).collect()
    }

    /// The chunk of some units, without blank lines around it; none if nothing else is in it.
    fn span(&self, from: usize, to: usize) -> Option<Span> {
        let (start, end) = (self.units[from].start, self.units[to - 1].end);
        let piece = &self.text[start..end];
        let kept = piece.trim_end();
        let words = kept.trim_start();
        if words.is_empty() {
            return None;
        }
        // The first line keeps its indentation.
        let blank = kept.len() - words.len();
        let skipped = kept[..blank].rfind('\n').map_or(0, |newline| newline + 1);
        Some(Span { start: start + skipped, end: start + kept.len(), headings: self.path(self.shared(from, to)) })
    }

    /// The innermost heading that all text of some units stands under.
    fn shared(&self, from: usize, to: usize) -> Option<usize> {
        let units = &self.units[from..to];
        let only_leads = units.iter().all(Unit::leads);
        // What stands before the first heading (an abstract, a metadata block) goes by the heading after it,
        // and a heading with nothing of its own between it and the next says less than that one.
        let under = units.iter().filter(|unit| only_leads || !unit.leads()).filter_map(|unit| unit.under);
        under.map(Some).reduce(|common, under| self.common(common, under)).flatten()
    }

    /// The innermost heading that two places have in common.
    fn common(&self, mut a: Option<usize>, mut b: Option<usize>) -> Option<usize> {
        // A heading's parent always has a smaller index.
        while a != b {
            match (a, b) {
                (Some(x), Some(y)) if x > y => a = self.headings[x].parent,
                (Some(_), Some(y)) => b = self.headings[y].parent,
                _ => return None,
            }
        }
        a
    }

    fn path(&self, mut under: Option<usize>) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(at) = under {
            path.push(self.headings[at].title.to_owned());
            under = self.headings[at].parent;
        }
        path.reverse();
        path
    }
}

/// Where to cut a long text for the splitter: at the last line end, else the last space, else between two
/// characters as people see them.
fn window_end(text: &str, from: usize, end: usize) -> usize {
    if end - from <= WINDOW_BYTES + WINDOW_BYTES / 2 {
        return end;
    }
    let most = text.floor_char_boundary(from + WINDOW_BYTES);
    let least = text.floor_char_boundary(from + WINDOW_BYTES / 2);
    let late = &text[least..most];
    if let Some(at) = late.rfind('\n').or_else(|| late.rfind(' ')) {
        return least + at + 1;
    }
    let mut cursor = GraphemeCursor::new(most, text.len(), true);
    match cursor.next_boundary(text, 0) {
        Ok(Some(at)) if at <= end.min(from + 2 * WINDOW_BYTES) => at,
        _ => most,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extract::markdown::{markdown, plain};

    fn chunks(source: &str, chunk_chars: usize) -> Vec<(Vec<String>, String)> {
        let draft = markdown(source.to_owned());
        let spans = split(&draft.text, &draft.blocks, chunk_chars);
        spans.into_iter().map(|span| (span.headings, draft.text[span.start..span.end].to_owned())).collect()
    }

    fn path(headings: &[&str]) -> Vec<String> {
        headings.iter().map(|heading| (*heading).to_owned()).collect()
    }

    #[test]
    fn a_small_document_is_one_chunk_under_what_its_parts_have_in_common() {
        let source = "# Guide\n\nWelcome.\n\n## One\n\nFirst.\n\n## Two\n\nSecond.";
        assert_eq!(chunks(source, 400), [(path(&["Guide"]), source.to_owned())]);
    }

    #[test]
    fn large_sections_stand_alone_under_their_path() {
        let body = "Words of this section, one after another. ".repeat(5);
        let body = body.trim();
        let source = format!("# A\n\n## B\n\n{body}\n\n### C\n\n{body}\n\n## D\n\n{body}");
        let got = chunks(&source, 250);
        let paths: Vec<_> = got.iter().map(|(headings, _)| headings.clone()).collect();
        assert_eq!(paths, [path(&["A", "B"]), path(&["A", "B", "C"]), path(&["A", "D"])]);
        assert_eq!(got[1].1, format!("### C\n\n{body}"));
    }

    #[test]
    fn top_sections_are_kept_apart_unless_they_are_tiny() {
        let body = "A few words that are enough to be found. ".repeat(3);
        let source = format!("# A\n\n{body}\n\n# B\n\n{body}\n\n# C\n\ntiny");
        let paths: Vec<_> = chunks(&source, 400).into_iter().map(|(headings, _)| headings).collect();
        assert_eq!(paths, [path(&["A"]), path(&[])]);
    }

    #[test]
    fn a_heading_never_ends_a_chunk_that_is_followed_by_another() {
        let body = "x".repeat(180);
        let source = format!("## H\n\n{body}\n\n{body}\n\n").repeat(12);
        for (_, text) in chunks(&source, 200) {
            assert!(!text.lines().last().unwrap_or_default().starts_with('#'), "{text}");
        }
    }

    #[test]
    fn code_and_table_rows_that_fit_are_not_cut() {
        let code = format!("```sh\n{}```", "# no heading\n\nrun this\n".repeat(6));
        let row = "| a cell of some width | and another one of some width |\n";
        let source = format!("# T\n\n{}\n\n{code}\n\n| A | B |\n|---|---|\n{}", "Prose. ".repeat(20), row.repeat(12));
        let got = chunks(&source, 200);
        assert!(got.iter().any(|(_, text)| text.contains(&code)), "{got:?}");
        for (headings, text) in &got {
            assert_eq!(headings, &path(&["T"]));
            assert!(text.lines().all(|line| !line.starts_with("| a") || line == row.trim_end()), "{text}");
        }
    }

    #[test]
    fn what_is_longer_than_a_chunk_is_cut_between_words() {
        let source = "Sentence number one is here. ".repeat(100);
        let got = chunks(&source, 200);
        assert!(got.len() >= 15 && got.iter().all(|(_, text)| text.ends_with('.') && text.len() <= 200), "{got:?}");
    }

    #[test]
    fn no_text_has_no_chunks() {
        assert!(chunks("", 100).is_empty());
        assert!(chunks(" \n\n\t\n", 100).is_empty());
    }

    #[test]
    fn indented_code_keeps_its_first_indentation() {
        let got = chunks("    let a = 1;\n    let b = 2;\n", 100);
        assert_eq!(got[0].1, "    let a = 1;\n    let b = 2;");
    }

    /// Text made of what structure is made of, so that structure comes about often.
    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("# Head\n".to_owned()),
            Just("## Part *two*\n\n".to_owned()),
            Just("```\ncode\n\n# not\n```\n".to_owned()),
            Just("| a | b |\n|---|---|\n| 1 | 2 |\n".to_owned()),
            Just("- item\n  - deeper\n".to_owned()),
            Just("> quoted\n\n".to_owned()),
            Just("Title\n=====\n".to_owned()),
            Just("\n\n".to_owned()),
            Just("  \t".to_owned()),
            "[a-zäß€😀e\u{301} .]{0,300}",
            "\\PC{0,80}",
            "[\u{4e00}-\u{4e40}]{0,200}",
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn chunks_are_in_order_lose_no_word_and_keep_their_size(text in any_text(), chunk_chars in 64_usize..300) {
            for draft in [markdown(text.clone()), plain(text.clone())] {
                let spans = split(&draft.text, &draft.blocks, chunk_chars);
                let mut reached = 0;
                for span in &spans {
                    prop_assert!(draft.text[reached..span.start].trim().is_empty(), "words between chunks");
                    let piece = &draft.text[span.start..span.end];
                    prop_assert!(!piece.trim().is_empty());
                    prop_assert!(piece.chars().count() <= 2 * chunk_chars);
                    prop_assert!(span.headings.len() <= 6);
                    reached = span.end;
                }
                prop_assert!(draft.text[reached..].trim().is_empty(), "words after the last chunk");
            }
        }
    }
}
