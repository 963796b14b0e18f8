//! What is known of HTML's elements: which hold no text, which end a block, what a start tag says of itself.

/// Elements whose content is never text of the document.
pub(super) const DROPPED: &[&[u8]] = &[
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"svg",
    b"iframe",
    b"object",
    b"select",
    b"button",
    b"textarea",
    b"canvas",
    b"audio",
    b"video",
    b"datalist",
];

/// Elements that begin and end a paragraph.
pub(super) const BLOCKS: &[&[u8]] = &[
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"body",
    b"caption",
    b"center",
    b"details",
    b"dialog",
    b"div",
    b"dl",
    b"fieldset",
    b"figcaption",
    b"figure",
    b"footer",
    b"form",
    b"header",
    b"hgroup",
    b"hr",
    b"html",
    b"legend",
    b"main",
    b"p",
    b"section",
    b"summary",
    b"search",
    b"nav",
    b"menu",
];

/// A start tag as far as it has been read.
#[derive(Default)]
pub(super) struct Tag {
    pub name: Vec<u8>,
    pub attribute: Vec<u8>,
    pub class: String,
    pub alt: String,
    pub hidden: bool,
    pub navigation: bool,
}

impl Tag {
    /// Takes the value of the attribute that was named last.
    pub fn value(&mut self, value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match self.attribute.as_slice() {
            b"class" => self.class = text(),
            b"alt" => self.alt = text(),
            b"role" => self.navigation |= value.eq_ignore_ascii_case(b"navigation"),
            b"aria-hidden" => self.hidden |= value.eq_ignore_ascii_case(b"true"),
            _ => {}
        }
    }

    /// The language of code, as highlighters write it: `class="language-rust"`.
    pub fn language(&self) -> String {
        let named = self.class.split_whitespace().find_map(|class| {
            class
                .strip_prefix("language-")
                .or_else(|| class.strip_prefix("lang-"))
                .or_else(|| class.strip_prefix("highlight-"))
        });
        named.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || "+-#".contains(*c)).take(20).collect()
    }
}

/// The level of a heading.
pub(super) fn heading_level(name: &[u8]) -> Option<u8> {
    match name {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Elements that have no content, so that nothing of theirs can be dropped.
pub(super) fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"br"
            | b"hr"
            | b"img"
            | b"input"
            | b"meta"
            | b"link"
            | b"area"
            | b"base"
            | b"col"
            | b"embed"
            | b"source"
            | b"track"
            | b"wbr"
    )
}
