//! HTML, written out as Markdown: headings, lists, tables, code.
//!
//! Works on the tokens (`html5gum`), without a tree: a tree's depth is the author's choice, and most of
//! what walks trees needs a stack as deep or time that grows with the square of it. What is lost is only
//! the repair of crossed tags, which changes little in the text. What the elements mean is in [`elements`].

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

use self::elements::{BLOCKS, DROPPED, Tag, heading_level, is_void};
use super::{
    blocks::{Draft, Kind, one_line},
    decode,
};

mod elements;

/// Lists and tables nested deeper than this are not told apart any more.
const MAX_DEPTH: usize = 8;

/// Turns HTML into Markdown.
pub(super) fn draft(html: &str) -> Draft {
    let first = Writer::run(html, true);
    // A navigation that is never closed, or that holds all there is, would leave nothing.
    let mut writer =
        if first.dropped.is_some() || first.draft.text.is_empty() { Writer::run(html, false) } else { first };
    let title = std::mem::take(&mut writer.title);
    let mut draft = writer.draft;
    draft.title = draft.title.or_else(|| one_line(&title));
    draft
}

#[derive(Default)]
struct Writer {
    draft: Draft,
    /// Words of `<title>`.
    title: String,
    in_title: bool,
    drop_navigation: bool,
    /// The element that is being dropped, and how often it is open.
    dropped: Option<(Vec<u8>, usize)>,
    /// The paragraph, item, heading or code that is being read.
    line: String,
    heading: Option<u8>,
    /// Inside `<pre>`: the language, if one is named.
    code: Option<String>,
    lists: Vec<List>,
    /// What the next item begins with.
    marker: Option<String>,
    /// Where the text of the term begins whose definition is awaited.
    term: Option<usize>,
    /// Whether the block before stands close to the next one.
    tight: bool,
    tables: Vec<Table>,
    /// Where the text of the open link begins in `line`.
    link: Option<usize>,
    tag: Tag,
}

/// An open list.
struct List {
    /// The number of the next item, if they have numbers.
    next: Option<u32>,
    /// Whether an item was begun.
    begun: bool,
}

#[derive(Default)]
struct Table {
    row: Vec<String>,
    in_cell: bool,
    rows: usize,
    /// It only arranges the page: headings, code or tables stand in its cells.
    layout: bool,
}

impl Writer {
    fn run(html: &str, drop_navigation: bool) -> Self {
        let mut writer = Self { drop_navigation, ..Self::default() };
        let callback = |event: CallbackEvent<'_>, _: Span<()>| -> Option<()> {
            writer.take(&event);
            None
        };
        let mut emitter = CallbackEmitter::new(callback);
        emitter.naively_switch_states(true);
        // Reading a string can't fail, and nothing is ever yielded: this only drives the callback.
        for Ok(()) in Tokenizer::new_with_emitter(html, emitter) {}
        writer.end_tables();
        writer.flush();
        writer
    }

    fn take(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = Tag { name: name.to_vec(), ..Tag::default() };
            }
            CallbackEvent::AttributeName { name } => {
                self.tag.attribute = name.to_vec();
                self.tag.hidden |= *name == b"hidden";
            }
            CallbackEvent::AttributeValue { value } => self.tag.value(value),
            CallbackEvent::CloseStartTag { self_closing } => {
                let tag = std::mem::take(&mut self.tag);
                self.open(&tag, *self_closing);
            }
            CallbackEvent::EndTag { name } => self.close(name),
            CallbackEvent::String { value } => self.words(&String::from_utf8_lossy(value)),
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
    }

    fn open(&mut self, tag: &Tag, self_closing: bool) {
        let name = tag.name.as_slice();
        if let Some((dropped, depth)) = &mut self.dropped {
            *depth += usize::from(dropped == name && !self_closing);
            return;
        }
        let navigation = self.drop_navigation && (name == b"nav" || tag.navigation || tag.hidden && !is_void(name));
        if DROPPED.contains(&name) || navigation {
            // SVG may close itself; the others can't.
            if !(self_closing && name == b"svg") {
                self.dropped = Some((name.to_vec(), 1));
            }
            return;
        }
        match name {
            b"title" => self.in_title = self.title.is_empty(),
            b"br" => self.line_break(),
            b"img" => self.words(&tag.alt),
            b"a" => self.link = Some(self.line.len()),
            b"pre" | b"listing" | b"xmp" => {
                self.arrange();
                self.flush();
                self.code = Some(tag.language());
            }
            b"code" => match &mut self.code {
                Some(language) if language.is_empty() => *language = tag.language(),
                Some(_) => {}
                None => self.line.push('`'),
            },
            b"ul" | b"ol" | b"dir" => {
                self.flush();
                self.tight = !self.lists.is_empty();
                self.lists.push(List { next: (name == b"ol").then_some(1), begun: false });
            }
            b"li" => self.begin_item(),
            b"dt" => {
                self.flush();
                self.tight = false;
                self.term = Some(self.draft.text.len());
            }
            b"dd" => {
                self.flush();
                self.end_term();
                self.tight = true;
            }
            b"table" => {
                self.arrange();
                self.flush();
                self.tables.push(Table { layout: self.tables.len() >= MAX_DEPTH, ..Table::default() });
            }
            b"tr" => self.end_row(),
            b"td" | b"th" => {
                self.end_cell();
                if let Some(table) = self.tables.last_mut() {
                    table.in_cell = true;
                }
            }
            _ if heading_level(name).is_some() => {
                self.arrange();
                self.flush();
                self.heading = heading_level(name);
            }
            _ if BLOCKS.contains(&name) => self.block_edge(),
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        if let Some((dropped, depth)) = &mut self.dropped {
            *depth -= usize::from(dropped == name);
            if *depth == 0 {
                self.dropped = None;
            }
            return;
        }
        match name {
            b"title" => self.in_title = false,
            b"a" => self.end_link(),
            b"code" if self.code.is_none() => self.end_code_span(),
            b"pre" | b"listing" | b"xmp" => self.flush(),
            b"ul" | b"ol" | b"dir" => {
                self.flush();
                self.marker = None;
                self.lists.pop();
                self.tight = !self.lists.is_empty();
            }
            b"li" | b"dt" | b"dd" => {
                self.flush();
                self.marker = None;
                self.tight = true;
            }
            b"table" => {
                self.end_row();
                self.tables.pop();
                self.tight = false;
            }
            b"tr" => self.end_row(),
            b"td" | b"th" => self.end_cell(),
            _ if heading_level(name).is_some() => self.flush(),
            _ if BLOCKS.contains(&name) => self.block_edge(),
            _ => {}
        }
    }

    /// Appends words, with white space drawn together unless inside code.
    fn words(&mut self, text: &str) {
        if self.dropped.is_some() {
            return;
        }
        if self.in_title {
            self.title.push_str(text);
        } else if self.code.is_some() {
            // The line end right after <pre> is not content.
            let text = if self.line.is_empty() { text.strip_prefix('\n').unwrap_or(text) } else { text };
            self.line.push_str(text);
        } else {
            let open = self.line.is_empty() || self.line.ends_with([' ', '\n']);
            let mut space = open;
            for c in text.chars() {
                if c.is_whitespace() {
                    if !space {
                        self.line.push(' ');
                    }
                    space = true;
                } else {
                    self.line.push(c);
                    space = false;
                }
            }
        }
    }

    fn line_break(&mut self) {
        if self.code.is_some() {
            self.line.push('\n');
        } else if self.in_row() || self.heading.is_some() {
            self.words(" ");
        } else if !self.line.is_empty() {
            self.line.truncate(self.line.trim_end_matches(' ').len());
            self.line.push('\n');
        }
    }

    fn block_edge(&mut self) {
        if self.in_row() {
            self.words(" ");
        } else if self.code.is_none() && self.heading.is_none() {
            self.flush();
        }
    }

    fn begin_item(&mut self) {
        if self.in_row() {
            self.words(" ");
            return;
        }
        self.flush();
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(MAX_DEPTH));
        let mut mark = "- ".to_owned();
        if let Some(list) = self.lists.last_mut() {
            // Also after an item that was not closed, as the language allows.
            self.tight |= list.begun;
            list.begun = true;
            if let Some(number) = &mut list.next {
                mark = format!("{number}. ");
                *number = number.saturating_add(1);
            }
        }
        self.marker = Some(indent + &mark);
    }

    /// Anchors that only point at their own heading are decoration.
    fn end_link(&mut self) {
        if let Some(at) = self.link.take()
            && self.line.get(at..).is_some_and(|text| matches!(text.trim(), "¶" | "§" | "#" | "🔗"))
        {
            self.line.truncate(at);
        }
    }

    fn end_code_span(&mut self) {
        // An empty span would read as the fence of a code block.
        if self.line.ends_with('`') {
            self.line.pop();
        } else {
            self.line.push('`');
        }
    }

    fn in_row(&self) -> bool {
        self.tables.last().is_some_and(|table| table.in_cell && !table.layout)
    }

    /// Something that can't stand in a cell begins: the table it is in only arranges the page, and what
    /// its row holds so far is written out.
    fn arrange(&mut self) {
        if !self.in_row() {
            return;
        }
        let line = std::mem::take(&mut self.line);
        let Some(table) = self.tables.last_mut() else { return };
        table.layout = true;
        let row = std::mem::take(&mut table.row);
        for cell in row.into_iter().chain([line]) {
            self.line = cell;
            self.flush();
        }
    }

    fn end_cell(&mut self) {
        let Some(table) = self.tables.last_mut() else { return };
        if table.layout || !table.in_cell {
            self.flush();
            return;
        }
        table.in_cell = false;
        let words: Vec<&str> = self.line.split_whitespace().collect();
        table.row.push(words.join(" ").replace('|', "\\|"));
        self.line.clear();
        self.link = None;
    }

    fn end_row(&mut self) {
        self.end_cell();
        let Some(table) = self.tables.last_mut() else { return };
        let row = std::mem::take(&mut table.row);
        if row.iter().all(String::is_empty) {
            return;
        }
        let mut text = format!("| {} |", row.join(" | "));
        let (gap, kind) = if table.rows == 0 {
            text.push_str("\n|");
            text.push_str(&" --- |".repeat(row.len()));
            ("\n\n", Kind::TableHead)
        } else {
            ("\n", Kind::Body)
        };
        table.rows += 1;
        self.draft.push(gap, kind, &decode::normalise(&text));
    }

    fn end_tables(&mut self) {
        self.end_row();
        self.tables.clear();
    }

    /// Writes out what has been read of the current block.
    fn flush(&mut self) {
        self.link = None;
        let (heading, code, tight) = (self.heading.take(), self.code.take(), std::mem::take(&mut self.tight));
        let line = decode::normalise(&std::mem::take(&mut self.line));
        if let Some(language) = code {
            self.write_code(&language, &line);
            return;
        }
        let words = line.trim();
        if words.is_empty() {
            self.tight = tight;
            return;
        }
        if let Some(level) = heading
            && let Some(title) = one_line(words)
        {
            if level == 1 && self.draft.title.is_none() {
                self.draft.title = Some(title.clone());
            }
            let text = format!("{} {}", "#".repeat(level.into()), words.replace('\n', " "));
            self.draft.push("\n\n", Kind::Heading { level, title }, &text);
            return;
        }
        let text = self.marker.take().unwrap_or_default() + words;
        self.draft.push(if tight { "\n" } else { "\n\n" }, Kind::Body, &text);
    }

    /// What is defined is told from its definition, which follows on the next line, by a colon.
    fn end_term(&mut self) {
        let Some(from) = self.term.take() else { return };
        let term = self.draft.text.get(from..).unwrap_or_default();
        let bare = term.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | ']' | '>' | '`'));
        if bare && !term.ends_with("```") {
            self.draft.text.push(':');
        }
    }

    fn write_code(&mut self, language: &str, code: &str) {
        if code.trim().is_empty() {
            return;
        }
        // A fence longer than any inside.
        let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.draft.push("\n\n", Kind::Body, &format!("{fence}{language}\n{code}\n{fence}"));
    }
}
