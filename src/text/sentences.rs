//! Where sentences begin and end, in prose and in Markdown.
//!
//! Prose is split at Unicode's sentence bounds (UAX #29), with the bounds after abbreviations taken back.
//! Markdown's blocks are units of their own: a heading, a list item, a table row, a whole code block.
//! Only what a reader sees as a block is looked at; nothing is parsed by the letter of `CommonMark`.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// What a unit of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sentence of a paragraph.
    Sentence,
    /// A heading.
    Heading,
    /// A list item with all its lines.
    Item,
    /// The row above a table's rule.
    TableHead,
    /// A row of a table.
    Row,
    /// A fenced code block, fences included.
    Code,
}

/// A unit and where it is, in bytes, without white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub range: Range<usize>,
    /// Whether it begins a paragraph or is a block of its own.
    pub opens: bool,
}

/// The sentences of `text` in order, as byte ranges without white space around them.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    units(text).into_iter().map(|unit| unit.range).collect()
}

/// The units of `text` in order.
pub fn units(text: &str) -> Vec<Unit> {
    let mut units = Units { text, found: Vec::new(), open: None };
    let mut lines = lines(text).peekable();
    if let Some(end) = begun_code(text) {
        units.add(Kind::Code, 0..end);
        while lines.next_if(|line| line.end <= end).is_some() {}
    }
    while let Some(line) = lines.next() {
        let content = text.get(line.clone()).unwrap_or_default().trim();
        if let Some(fence) = fence(content) {
            units.close();
            let mut end = line.end;
            for next in lines.by_ref() {
                end = next.end;
                let inner = text.get(next).unwrap_or_default().trim();
                if inner.starts_with(fence) && inner.trim_start_matches(fence).is_empty() {
                    break;
                }
            }
            units.add(Kind::Code, line.start..end);
        } else if content.is_empty() || is_rule(content) {
            // A line of dashes below a paragraph makes it a heading.
            if !content.is_empty() && is_underline(content) {
                units.underlined();
            }
            units.close();
        } else if is_heading(content) {
            units.close();
            units.add(Kind::Heading, line);
        } else if content.starts_with('|') {
            units.close();
            let below = lines.peek().map(|next| text.get(next.clone()).unwrap_or_default().trim());
            if !is_table_rule(content) {
                units.add(if below.is_some_and(is_table_rule) { Kind::TableHead } else { Kind::Row }, line);
            }
        } else if is_item(content) {
            units.close();
            units.open = Some((Kind::Item, line));
        } else {
            match &mut units.open {
                Some((_, open)) => open.end = line.end,
                None => units.open = Some((Kind::Sentence, line)),
            }
        }
    }
    units.close();
    units.found
}

/// Where code ends that the text begins within, as a piece of a larger text may: after the first fence, if
/// fences do not come in pairs and this one names no language and has nothing right below it.
fn begun_code(text: &str) -> Option<usize> {
    let content = |line: &Range<usize>| text.get(line.clone()).unwrap_or_default().trim();
    let mut fences = lines(text).filter(|line| fence(content(line)).is_some());
    let first = fences.next()?;
    let bare = fence(content(&first)).is_some_and(|fence| content(&first) == fence);
    let below = text.get(first.end..).unwrap_or_default().lines().nth(1).unwrap_or_default();
    (bare && fences.count() % 2 == 0 && below.trim().is_empty()).then_some(first.end)
}

struct Units<'a> {
    text: &'a str,
    found: Vec<Unit>,
    /// The paragraph or item that further lines belong to.
    open: Option<(Kind, Range<usize>)>,
}

impl Units<'_> {
    fn add(&mut self, kind: Kind, range: Range<usize>) {
        if let Some(range) = trimmed(self.text, range) {
            self.found.push(Unit { kind, range, opens: true });
        }
    }

    fn close(&mut self) {
        match self.open.take() {
            Some((Kind::Sentence, range)) => {
                let paragraph = self.text.get(range.clone()).unwrap_or_default();
                for (n, sentence) in split(paragraph).into_iter().enumerate() {
                    let sentence = range.start + sentence.start..range.start + sentence.end;
                    self.found.push(Unit { kind: Kind::Sentence, range: sentence, opens: n == 0 });
                }
            }
            Some((kind, range)) => self.add(kind, range),
            None => {}
        }
    }

    fn underlined(&mut self) {
        if let Some((kind @ Kind::Sentence, range)) = &mut self.open
            && !self.text.get(range.clone()).unwrap_or_default().trim().contains('\n')
        {
            *kind = Kind::Heading;
        }
    }
}

/// The lines of a text as ranges, their ends left out.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let from = start;
        start += line.len();
        from..from + line.trim_end_matches(['\n', '\r']).len()
    })
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let slice = text.get(range.clone())?;
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = start + slice.trim().len();
    (end > start).then_some(start..end)
}

fn fence(line: &str) -> Option<&'static str> {
    ["```", "~~~"].into_iter().find(|fence| line.starts_with(fence))
}

fn is_heading(line: &str) -> bool {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level) && (text.is_empty() || text.starts_with([' ', '\t']))
}

fn is_underline(line: &str) -> bool {
    line.len() >= 3 && (line.bytes().all(|byte| byte == b'-') || line.bytes().all(|byte| byte == b'='))
}

fn is_rule(line: &str) -> bool {
    is_underline(line)
        || ['*', '-', '_'].into_iter().any(|mark| {
            line.chars().filter(|c| *c == mark).count() >= 3 && line.chars().all(|c| c == mark || c.is_whitespace())
        })
}

fn is_table_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t'))
}

/// How long the mark of a list item is, with the white space after it; zero if the line begins none.
pub fn bullet(line: &str) -> usize {
    let mark = match line.chars().next() {
        Some('-' | '*' | '+') => 1,
        Some('•' | '◦' | '‣') => '•'.len_utf8(),
        Some('0'..='9') => {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let marked = line.as_bytes().get(digits).is_some_and(|byte| matches!(byte, b'.' | b')'));
            if digits <= 3 && marked { digits + 1 } else { 0 }
        }
        _ => 0,
    };
    let rest = line.get(mark..).unwrap_or_default();
    let gap = rest.len() - rest.trim_start().len();
    if mark > 0 && gap > 0 { mark + gap } else { 0 }
}

fn is_item(line: &str) -> bool {
    bullet(line) > 0
}

/// The sentences of one paragraph; its line ends are spaces.
fn split(paragraph: &str) -> Vec<Range<usize>> {
    // UAX #29 ends a sentence at every line end; paragraphs here are wrapped text. Same length, same offsets.
    let flat: String = paragraph.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }).collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, piece) in flat.split_sentence_bound_indices() {
        let end = start + piece.len();
        match found.last_mut() {
            Some(last) if flat.get(last.clone()).is_some_and(|piece| within_a_word(piece) || goes_on(piece)) => {
                last.end = end;
            }
            _ => found.push(start..end),
        }
    }
    found.into_iter().filter_map(|range| trimmed(&flat, range)).collect()
}

/// Words that end in a full stop and not in their sentence; compared in lower case, without the stop.
const ABBREVIATIONS: &[&str] = &[
    // English
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "e.g", "eg", "i.e", "ie", "cf", "no", "nos", "fig", "figs",
    "sec", "ch", "vol", "pp", "ed", "eds", "approx", "dept", "est", "inc", "ltd", "corp", "co", "al", "resp", "viz",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", // German
    "z.b", "d.h", "u.a", "o.ä", "bzw", "ca", "nr", "abs", "art", "vgl", "ggf", "inkl", "evtl", "bspw", "usf", "str",
    "hr", "fr", "z", "d", "u", "o", "bd", "aufl", "hrsg", "mio", "mrd", "tel", // French, Spanish, Italian
    "mme", "mlle", "p.ex", "ex", "env", "sra", "srta", "ud", "uds", "núm", "pág", "sig", "dott", "avv", "ecc",
];

/// Whether the bound stands where no space does, as in an address or in `a?b`, or behind an opening
/// bracket, as in `[![ a badge`. Scripts without spaces have full stops of their own.
fn within_a_word(piece: &str) -> bool {
    piece.ends_with(|c: char| c.is_ascii() && !c.is_whitespace()) || piece.trim_end().ends_with(['[', '(', '{'])
}

/// Whether a piece that ends at a bound does not end its sentence.
fn goes_on(piece: &str) -> bool {
    let Some(word) = piece.trim_end().strip_suffix('.') else { return false };
    let word = word.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“' | '„' | ',')).next();
    let word = word.unwrap_or_default();
    let initial = match word.split('.').map(|part| part.chars().count()).max() {
        // "J.", "U.S.", "z.B.", but not "I."
        Some(1) => word != "I" && (word.contains('.') || word.chars().all(char::is_uppercase)),
        _ => false,
    };
    // "am 3. Oktober": a number of a day or a clause, when something stands before it.
    let ordinal = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    initial || ordinal || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        units(text).into_iter().map(|unit| (unit.kind, &text[unit.range])).collect()
    }

    #[test]
    fn prose_falls_into_sentences_across_its_line_ends() {
        assert_eq!(
            of("The queue is durable.  Nothing\nis lost! Is it\r\nfast? Version 1.5 is.\n\nNew paragraph"),
            ["The queue is durable.", "Nothing\nis lost!", "Is it\r\nfast?", "Version 1.5 is.", "New paragraph"]
        );
        assert_eq!(of("东京很大。很好吃！"), ["东京很大。", "很好吃！"]);
        assert!(of(" \n\n \t").is_empty());
    }

    #[test]
    fn abbreviations_end_no_sentence() {
        for text in [
            "Ask Dr. Smith or J. Doe about it.",
            "Use a store, e.g. Redis, here.",
            "See Fig. 3 and No. 7 for more.",
            "Am 3. Oktober ist z. B. Berlin zu, d.h. Nr. 5 auch.",
            "The U.S. Army uses it.",
            "See http://h/a?B=C!D and [![ Badge](x)](y) there.",
        ] {
            assert_eq!(of(text), [text]);
        }
        assert_eq!(of("So did I. Then we left."), ["So did I.", "Then we left."]);
    }

    #[test]
    fn blocks_of_markdown_are_units() {
        let text = "# Title\nIntro here. More.\n\n- first item. With two sentences\n  and a second line\n- second\n\n1. one\n2) two\n\n\
                    ```sh\ncargo run. Now\n\nls\n```\nAfter.\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n***\nOld heading\n-----------\nEnd";
        assert_eq!(
            kinds(text),
            [
                (Kind::Heading, "# Title"),
                (Kind::Sentence, "Intro here."),
                (Kind::Sentence, "More."),
                (Kind::Item, "- first item. With two sentences\n  and a second line"),
                (Kind::Item, "- second"),
                (Kind::Item, "1. one"),
                (Kind::Item, "2) two"),
                (Kind::Code, "```sh\ncargo run. Now\n\nls\n```"),
                (Kind::Sentence, "After."),
                (Kind::TableHead, "| a | b |"),
                (Kind::Row, "| 1 | 2 |"),
                (Kind::Heading, "Old heading"),
                (Kind::Sentence, "End"),
            ]
        );
    }

    #[test]
    fn a_code_block_that_is_never_closed_reaches_to_the_end() {
        assert_eq!(kinds("```\na. B. C"), [(Kind::Code, "```\na. B. C")]);
    }

    #[test]
    fn a_text_that_begins_within_code_goes_on_as_prose_after_its_fence() {
        let text = "    let a = 1;\n}\n```\n\nProse again.\n\n```sh\nls\n```";
        assert_eq!(
            kinds(text),
            [(Kind::Code, "let a = 1;\n}\n```"), (Kind::Sentence, "Prose again."), (Kind::Code, "```sh\nls\n```")]
        );
        assert_eq!(kinds("```\n\nOnly prose."), [(Kind::Code, "```"), (Kind::Sentence, "Only prose.")]);
    }

    #[test]
    fn what_only_looks_like_markdown_is_prose() {
        for text in ["#hashtag and more", "-5 degrees are cold", "1984. It was", "*emphasis* first", "2.5 times more"] {
            assert!(units(text).iter().all(|unit| unit.kind == Kind::Sentence), "{text}");
        }
    }

    proptest! {
        #[test]
        fn units_are_in_order_and_hold_everything_but_white_space_and_rules(text in "(\\PC|\n|[-#|`.?! ]|word){0,80}") {
            let mut end = 0;
            for unit in units(&text) {
                prop_assert!(unit.range.start >= end && unit.range.end > unit.range.start);
                let between = &text[end..unit.range.start];
                prop_assert!(!between.contains("word"), "{between:?} left out");
                prop_assert_eq!(text[unit.range.clone()].trim(), &text[unit.range.clone()]);
                end = unit.range.end;
            }
            prop_assert!(!text[end..].contains("word"));
        }
    }
}
