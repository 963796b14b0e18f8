//! What every parser hands to the chunker: the text and where its blocks begin.

/// A parsed document, before it is cut into chunks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draft {
    /// The document's own title.
    pub title: Option<String>,
    /// The normalised text.
    pub text: String,
    /// Its blocks, in order. Each reaches to the next one's start.
    pub blocks: Vec<Block>,
}

/// A piece of text that is cut only when it is larger than a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a block is, as far as cutting cares.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A heading: belongs to what follows and names it.
    Heading {
        /// 1 is the outermost.
        level: u8,
        /// Its words, without marks.
        title: String,
    },
    /// The head of a table: belongs to the rows that follow.
    TableHead,
    /// A paragraph, a list item, a code block, a table row.
    Body,
}

impl Draft {
    /// Appends a block, set apart from the one before by `gap`.
    pub fn push(&mut self, gap: &str, kind: Kind, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str(gap);
        }
        self.blocks.push(Block { start: self.text.len(), kind });
        self.text.push_str(text);
    }
}

/// The words of a title or heading in one line, cut at 200 characters; none if there are none.
pub(super) fn one_line(text: &str) -> Option<String> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() >= 800 {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(200));
    }
    let end = line.char_indices().nth(200).map_or(line.len(), |(at, _)| at);
    line.truncate(end);
    (!line.is_empty()).then_some(line)
}
