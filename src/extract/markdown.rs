//! Markdown and plain text: kept as they are, only the blocks are found.

use pulldown_cmark::{Event, MetadataBlockKind, Options, Parser, Tag, TagEnd};

use super::blocks::{Block, Draft, Kind, one_line};

/// Finds the blocks of Markdown (`CommonMark` with tables and a metadata block).
pub(super) fn markdown(text: String) -> Draft {
    let mut finder =
        Finder { text: &text, blocks: Vec::new(), title: None, heading: None, front: None, depth: 0, line: (0, 0) };
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(&text, options).into_offset_iter() {
        finder.take(event, range.start);
    }
    let Finder { blocks, title, front, .. } = finder;
    let title = title.or_else(|| front.as_deref().and_then(front_matter_title));
    Draft { title, text, blocks }
}

struct Finder<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    title: Option<String>,
    /// The words of the heading that is being read.
    heading: Option<String>,
    front: Option<String>,
    /// How many lists and quotes are open: a heading inside them names nothing outside.
    depth: usize,
    /// How far line ends were looked for, and where the line there begins: a line of ten million
    /// characters may open a million quotes and must not be searched for each.
    line: (usize, usize),
}

impl Finder<'_> {
    fn take(&mut self, event: Event<'_>, at: usize) {
        match event {
            Event::Start(tag) => self.open(&tag, at),
            Event::End(tag) => self.close(tag),
            Event::Text(words) | Event::Code(words) => {
                if let Some(target) = self.heading.as_mut().or(self.front.as_mut()) {
                    target.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut self.heading {
                    heading.push(' ');
                }
            }
            Event::Rule => self.begin(at, Kind::Body),
            Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }

    fn open(&mut self, tag: &Tag<'_>, at: usize) {
        match tag {
            Tag::Heading { level, .. } => {
                self.begin(at, Kind::Heading { level: *level as u8, title: String::new() });
                self.heading = Some(String::new());
            }
            Tag::TableHead => self.begin(at, Kind::TableHead),
            Tag::BlockQuote(_) | Tag::List(_) => {
                self.begin(at, Kind::Body);
                self.depth += 1;
            }
            Tag::Paragraph | Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::Item | Tag::Table(_) | Tag::TableRow => {
                self.begin(at, Kind::Body);
            }
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle) => {
                self.begin(at, Kind::Body);
                self.front.get_or_insert_default();
            }
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let words = self.heading.take().and_then(|words| one_line(&words));
                if self.depth == 0 && level as u8 == 1 && self.title.is_none() {
                    self.title.clone_from(&words);
                }
                let nested = self.depth > 0;
                if let Some(Block { kind, .. }) = self.blocks.last_mut()
                    && let Kind::Heading { title, .. } = kind
                {
                    match words {
                        Some(words) if !nested => *title = words,
                        _ => *kind = Kind::Body,
                    }
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// A block begins where its line does, so that markers and indentation stay with it; of several that
    /// begin in one line (an item and its paragraph, a table and its head) the innermost says what it is.
    fn begin(&mut self, at: usize, kind: Kind) {
        let (seen, mut start) = self.line;
        if at > seen {
            start = self.text[seen..at].rfind('\n').map_or(start, |newline| seen + newline + 1);
            self.line = (at, start);
        }
        match self.blocks.last_mut() {
            Some(last) if last.start >= start => {
                if kind != Kind::Body {
                    last.kind = kind;
                }
            }
            _ => self.blocks.push(Block { start, kind }),
        }
    }
}

fn front_matter_title(front: &str) -> Option<String> {
    let value = front.lines().find_map(|line| line.strip_prefix("title:"))?;
    one_line(value.trim().trim_matches(['"', '\'']))
}

/// Finds the blocks of plain text: paragraphs set apart by blank lines, headings underlined with `=` or `-`.
pub(super) fn plain(text: String) -> Draft {
    let mut blocks = Vec::new();
    let mut title = None;
    let (mut at, mut after_blank) = (0, true);
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let start = at;
        at += line.len();
        if line.trim().is_empty() {
            after_blank = true;
            continue;
        }
        if after_blank && let Some(level) = lines.peek().and_then(|next| underline(line, next)) {
            let words = one_line(line).unwrap_or_default();
            title = title.or_else(|| Some(words.clone()));
            blocks.push(Block { start, kind: Kind::Heading { level, title: words } });
            at += lines.next().map_or(0, str::len);
            continue;
        }
        if after_blank {
            blocks.push(Block { start, kind: Kind::Body });
        }
        after_blank = false;
    }
    Draft { title, text, blocks }
}

/// The level that `next` gives to `line` by underlining it.
fn underline(line: &str, next: &str) -> Option<u8> {
    let (line, next) = (line.trim(), next.trim());
    let (words, marks) = (line.chars().take(121).count(), next.len());
    let same = |mark: u8| marks >= 3 && next.bytes().all(|byte| byte == mark);
    let level = if same(b'=') { 1 } else { 2 };
    let fits = words <= 120 && marks * 2 >= words && marks <= words * 2 + 8;
    (fits && (same(b'=') || same(b'-')) && line.chars().any(char::is_alphanumeric)).then_some(level)
}
