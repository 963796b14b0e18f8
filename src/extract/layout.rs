//! From characters placed on pages to readable text: lines, paragraphs (in [`paragraphs`]), headings.
//!
//! Characters are taken in the order in which they are drawn, which nearly every program makes the order
//! of reading (also in columns); sorting them by place would mix columns. What a PDF does not say is
//! guessed from distances and sizes: the rules are modest, and a wrong guess costs a line break.

use std::collections::HashMap;

use hayro_interpret::kurbo::{Point, Vec2};

use self::paragraphs::{Paragraph, carry_over, paragraphs};
use super::blocks::{Draft, Kind, one_line};

mod paragraphs;

/// A character's place on its page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Where it stands.
    pub at: Point,
    /// The direction of its line.
    pub along: Vec2,
    /// Its width in that direction.
    pub advance: f64,
    /// Its size.
    pub size: f64,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Where it begins and ends along itself.
    left: f64,
    right: f64,
    /// How far down it stands.
    down: f64,
    size: f64,
    along: Vec2,
    /// An entry of a table of contents: stays a line of its own.
    entry: bool,
}

/// A document while it is read.
#[derive(Debug, Default)]
pub(super) struct Document {
    pages: Vec<Vec<Paragraph>>,
    lines: Vec<Line>,
    text_bytes: usize,
    /// Characters whose meaning the font does not say, and all others.
    unreadable: usize,
    readable: usize,
}

impl Document {
    /// Takes the next character.
    pub fn put(&mut self, placed: Placed, text: &str) {
        let Placed { at, along, advance, size } = placed;
        let length = along.hypot();
        // Also false for what is not a number.
        if !(length > 0.0 && size > 0.0 && size.is_finite() && at.is_finite() && advance.is_finite()) {
            return;
        }
        let along = along / length;
        let (x, down) = (at.to_vec2().dot(along), at.to_vec2().dot(Vec2::new(along.y, -along.x)));
        if text.contains('\u{fffd}') {
            self.unreadable += 1;
            return;
        }
        if text.chars().all(|c| c.is_whitespace() || c.is_control()) {
            if let Some(line) = self.lines.last_mut()
                && !line.text.ends_with(' ')
                && (down - line.down).abs() < 0.5 * size.max(line.size)
            {
                line.text.push(' ');
                line.right = line.right.max(x + advance);
            }
            return;
        }
        self.readable += 1;
        self.text_bytes += text.len();
        match self.lines.last_mut() {
            Some(line) if line.goes_on(x, down, size, along) => {
                if x - line.right > 0.17 * size.min(line.size) && !line.text.ends_with(' ') {
                    line.text.push(' ');
                }
                push_plain(&mut line.text, text);
                line.right = line.right.max(x + advance);
                if size > line.size {
                    (line.size, line.down) = (size, down);
                }
            }
            _ => {
                let mut line =
                    Line { text: String::new(), left: x, right: x + advance, down, size, along, entry: false };
                push_plain(&mut line.text, text);
                self.lines.push(line);
            }
        }
    }

    /// Ends the page: its lines become paragraphs.
    pub fn end_page(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        for line in &mut lines {
            line.text.truncate(line.text.trim_end().len());
            if let Some(text) = without_leader(&line.text) {
                (line.text, line.entry) = (text, true);
            }
        }
        lines.retain(|line| !line.text.is_empty());
        self.pages.push(paragraphs(&lines));
    }

    /// Size of the text so far, about.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The whole document's text; empty if most of its characters say nothing.
    pub fn finish(mut self) -> Draft {
        if self.unreadable > self.readable {
            return Draft::default();
        }
        drop_running_heads(&mut self.pages);
        let sizes = HeadingSizes::new(&self.pages);
        let mut draft = Draft::default();
        for page in self.pages {
            for (at, paragraph) in page.into_iter().enumerate() {
                if at == 0 && carry_over(&mut draft, &paragraph) {
                    continue;
                }
                let gap = if at == 0 { "\n\n" } else { paragraph.gap };
                let kind = sizes.kind(&paragraph);
                if let (Kind::Heading { level: 1, title }, None) = (&kind, &draft.title) {
                    draft.title = Some(title.clone());
                }
                draft.push(gap, kind, &paragraph.text);
            }
        }
        draft
    }
}

impl Line {
    fn goes_on(&self, x: f64, down: f64, size: f64, along: Vec2) -> bool {
        let em = size.max(self.size);
        // A step back of up to one em is kerning, an accent or an index below an exponent.
        along.dot(self.along) > 0.99 && (down - self.down).abs() < 0.55 * em && x > self.right - em && x >= self.left
    }
}

/// Appends text, ligatures taken apart: nobody searches for "ﬁ".
fn push_plain(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            'ﬀ' => out.push_str("ff"),
            'ﬁ' => out.push_str("fi"),
            'ﬂ' => out.push_str("fl"),
            'ﬃ' => out.push_str("ffi"),
            'ﬄ' => out.push_str("ffl"),
            'ﬅ' | 'ﬆ' => out.push_str("st"),
            '\u{ad}' => out.push('-'),
            c if c.is_whitespace() => out.push(' '),
            // Private use: symbols of one font, as bullets; no word has them.
            '\u{e000}'..='\u{f8ff}' => out.push('•'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

/// A line with its row of dots drawn together, if it has one.
fn without_leader(text: &str) -> Option<String> {
    let dots = text.find(". . . .").or_else(|| text.find("....."))?;
    let (before, rest) = text.split_at(dots);
    let after = rest.trim_start_matches(['.', ' ']);
    Some(format!("{} … {after}", before.trim_end()))
}

/// Drops page numbers, and the heads and feet that run through many pages.
fn drop_running_heads(pages: &mut [Vec<Paragraph>]) {
    let key = |paragraph: &Paragraph| -> Option<String> {
        let short = paragraph.lines == 1 && paragraph.text.len() <= 120;
        short.then(|| paragraph.text.chars().filter(|c| !c.is_ascii_digit()).collect())
    };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for page in pages.iter() {
        for edge in edges(page) {
            if let Some(key) = key(&page[edge]) {
                *seen.entry(key).or_default() += 1;
            }
        }
    }
    let often = (pages.len() / 4).max(3);
    for page in pages {
        for edge in edges(page) {
            let running = key(&page[edge]).is_some_and(|key| seen[&key] >= often);
            if running || is_page_number(&page[edge].text) {
                page[edge].text.clear();
            }
        }
        page.retain(|paragraph| !paragraph.text.is_empty());
    }
}

/// The first and the last paragraph of a page that has more than one.
fn edges(page: &[Paragraph]) -> impl Iterator<Item = usize> + use<> {
    let last = page.len().checked_sub(1).filter(|last| *last > 0);
    last.into_iter().flat_map(|last| [0, last])
}

fn is_page_number(text: &str) -> bool {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '–' | '[' | ']'));
    let roman = bare.len() <= 6 && bare.chars().all(|c| "ivxlc".contains(c));
    !bare.is_empty() && (roman || bare.len() <= 5 && bare.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The sizes of type that are headings in this document, largest first.
struct HeadingSizes {
    body: f64,
    sizes: Vec<f64>,
}

impl HeadingSizes {
    fn new(pages: &[Vec<Paragraph>]) -> Self {
        let mut weight: HashMap<i64, usize> = HashMap::new();
        for paragraph in pages.iter().flatten() {
            *weight.entry((paragraph.size * 2.0).round() as i64).or_default() += paragraph.text.len();
        }
        let body =
            weight.into_iter().max_by_key(|(size, bytes)| (*bytes, *size)).map_or(0.0, |(size, _)| size as f64 / 2.0);
        let mut all: Vec<f64> = pages
            .iter()
            .flatten()
            .filter(|paragraph| stands_out(paragraph, body))
            .map(|paragraph| paragraph.size)
            .collect();
        all.sort_by(|a, b| b.total_cmp(a));
        let mut sizes: Vec<f64> = Vec::new();
        for size in all {
            if sizes.last().is_none_or(|last| size < last * 0.95) {
                sizes.push(size);
            }
        }
        Self { body, sizes }
    }

    fn kind(&self, paragraph: &Paragraph) -> Kind {
        let title = one_line(&paragraph.text).filter(|_| stands_out(paragraph, self.body));
        let rank = self.sizes.iter().position(|size| paragraph.size >= size * 0.95).unwrap_or(self.sizes.len());
        title.map_or(Kind::Body, |title| Kind::Heading { level: (rank + 1).min(6) as u8, title })
    }
}

/// Whether a paragraph is set as a heading: short, and in larger type than the body.
fn stands_out(paragraph: &Paragraph, body: f64) -> bool {
    paragraph.size > body * 1.12
        && paragraph.lines <= 3
        && paragraph.text.len() <= 200
        && paragraph.text.chars().filter(|c| c.is_alphabetic()).count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a line of characters half as wide as they are high.
    fn line(document: &mut Document, x: f64, y: f64, size: f64, text: &str) {
        for (at, c) in text.chars().enumerate() {
            let at = Point::new(x + at as f64 * size * 0.5, y);
            let placed = Placed { at, along: Vec2::new(1.0, 0.0), advance: size * 0.5, size };
            document.put(placed, c.encode_utf8(&mut [0; 4]));
        }
    }

    fn page(lines: &[(f64, f64, f64, &str)]) -> Draft {
        let mut document = Document::default();
        for (x, y, size, text) in lines {
            line(&mut document, *x, *y, *size, text);
        }
        document.end_page();
        document.finish()
    }

    #[test]
    fn larger_type_makes_headings_and_the_largest_the_title() {
        let body = "body text that is long enough to count as most of it";
        let draft = page(&[(0.0, 700.0, 20.0, "The Title"), (0.0, 660.0, 14.0, "A part"), (0.0, 640.0, 10.0, body)]);
        assert_eq!(draft.text, format!("The Title\n\nA part\n\n{body}"));
        assert_eq!(draft.title.as_deref(), Some("The Title"));
        let levels: Vec<_> = draft.blocks.iter().filter(|block| matches!(block.kind, Kind::Heading { .. })).collect();
        assert_eq!(levels.len(), 2);
    }

    #[test]
    fn columns_are_read_one_after_the_other() {
        let draft = page(&[
            (0.0, 700.0, 10.0, "left column, line one"),
            (0.0, 688.0, 10.0, "left column, line two"),
            (300.0, 700.0, 10.0, "right column, line one"),
            (300.0, 688.0, 10.0, "right column, line two"),
        ]);
        assert_eq!(
            draft.text,
            "left column, line one left column, line two\n\nright column, line one right column, line two"
        );
    }

    #[test]
    fn words_set_apart_by_distance_alone_get_a_space() {
        let mut document = Document::default();
        line(&mut document, 0.0, 700.0, 10.0, "two");
        line(&mut document, 18.0, 700.0, 10.0, "words");
        document.end_page();
        assert_eq!(document.finish().text, "two words");
    }

    #[test]
    fn running_heads_and_page_numbers_are_dropped() {
        let mut document = Document::default();
        for number in 1..=6 {
            line(&mut document, 0.0, 760.0, 9.0, &format!("Manual, page {number}"));
            line(&mut document, 0.0, 700.0, 10.0, &format!("Sentence {} of the text.", "x".repeat(number)));
            line(&mut document, 0.0, 40.0, 9.0, &number.to_string());
            document.end_page();
        }
        let text = document.finish().text;
        assert_eq!(text.matches("Sentence").count(), 6);
        assert!(!text.contains("Manual") && !text.contains('6'), "{text}");
    }

    #[test]
    fn a_divided_word_is_put_together_though_its_line_ends_early() {
        let draft = page(&[
            (0.0, 700.0, 10.0, "a line that is long enough to make this one short"),
            (0.0, 688.0, 10.0, "the recon-"),
            (0.0, 676.0, 10.0, "ciler works"),
        ]);
        assert_eq!(draft.text, "a line that is long enough to make this one short the reconciler works");
    }

    #[test]
    fn entries_of_a_table_of_contents_stay_lines() {
        let dots = ". ".repeat(20);
        let (one, two) = (format!("1.1 Overview {dots}3"), format!("1.2 Details {dots}14"));
        let draft = page(&[(0.0, 700.0, 10.0, &one), (0.0, 688.0, 10.0, &two)]);
        assert_eq!(draft.text, "1.1 Overview … 3\n1.2 Details … 14");
    }

    #[test]
    fn text_without_a_character_map_is_no_text() {
        assert_eq!(page(&[(0.0, 0.0, 10.0, "\u{fffd}\u{fffd}\u{fffd}ok")]).text, "");
    }

    #[test]
    fn places_that_are_no_numbers_are_passed_over() {
        let mut document = Document::default();
        for size in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let placed = Placed { at: Point::ZERO, along: Vec2::new(1.0, 0.0), advance: 1.0, size };
            document.put(placed, "x");
        }
        document.end_page();
        assert_eq!(document.finish().text, "");
    }
}
