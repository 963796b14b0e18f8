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
        let common = self.units[from + 1..to]
            .iter()
            .fold(self.units[from].under, |common, unit| self.common(common, unit.under));
        Some(Span { start: start + skipped, end: start + kept.len(), headings: self.path(common) })
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
