//! PDF: from its pages to placed characters (`hayro-interpret`); [`super::layout`] makes text of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask,
    font::GlyphRun,
    hayro_cmap::{BfString, WritingMode},
    hayro_syntax::{DecryptionError, LoadPdfError, Pdf},
    interpret_page,
    kurbo::{Affine, BezPath, Point, Rect},
};

use super::{
    blocks::{Draft, one_line},
    child::{crashed, text_too_large},
    decode,
    layout::{Document, Placed},
};
use crate::domain::failure::{Code, Failure};

/// Reads a PDF; stops as soon as its text is over the limit.
pub(super) fn draft(bytes: Vec<u8>, max_text_bytes: u64) -> Result<Draft, Failure> {
    let pdf = load(bytes)?;
    let mut document = Document::default();
    let cache = InterpreterCache::new();
    let (mut pages, mut broken) = (0, 0);
    for page in pdf.pages().iter() {
        pages += 1;
        let mut reader = Reader { document: &mut document, last: None };
        // A page that its interpreter trips over must not cost the others; what was read of it is kept.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let area = Rect::new(0.0, 0.0, 1.0, 1.0);
            let settings = InterpreterSettings::default();
            let mut context = Context::new(Affine::IDENTITY, area, &cache, pdf.xref(), settings);
            interpret_page(page, &mut context, &mut reader);
        }));
        broken += usize::from(done.is_err());
        document.end_page();
        if document.text_bytes() as u64 > max_text_bytes {
            return Err(text_too_large(max_text_bytes));
        }
    }
    if pages == 0 {
        return Err(damaged());
    }
    if broken == pages {
        return Err(crashed());
    }
    let named = pdf.metadata().title.as_deref().map(decode_title).filter(|title| says_something(title));
    let mut draft = document.finish();
    draft.title = named.or(draft.title);
    Ok(draft)
}

fn load(bytes: Vec<u8>) -> Result<Pdf, Failure> {
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            Failure::new(Code::DocumentEncrypted, "the PDF is protected by a password")
        }
        LoadPdfError::Decryption(_) => {
            Failure::new(Code::DocumentEncrypted, "the PDF is encrypted in a way that can't be read")
        }
        LoadPdfError::Invalid => damaged(),
    })
}

fn damaged() -> Failure {
    Failure::new(Code::DocumentDamaged, "the PDF is damaged or cut short: no pages can be found in it")
}

/// A PDF's text string: UTF-16 or UTF-8 with a mark, else near enough to Windows-1252.
fn decode_title(bytes: &[u8]) -> String {
    one_line(&decode::text(bytes, Some(b"windows-1252"))).unwrap_or_default()
}

/// Whether a title in the metadata was meant as one: many programs write the file's name there.
fn says_something(title: &str) -> bool {
    let lower = title.to_lowercase();
    let file = ["doc", "docx", "dvi", "tex", "pdf", "indd", "rtf", "odt", "ps", "xls", "xlsx", "ppt", "pptx", "qxd"];
    let named_after_file = lower.rsplit_once('.').is_some_and(|(_, extension)| file.contains(&extension));
    let junk = ["untitled", "microsoft word", "microsoft powerpoint", "(anonymous)", "unknown"];
    !named_after_file && !junk.iter().any(|start| lower.starts_with(start)) && title.chars().any(char::is_alphanumeric)
}

/// Takes the characters out of what is drawn; all else is passed over, images undecoded.
struct Reader<'a> {
    document: &'a mut Document,
    /// The first position and the length of the run before: bold type is often made by drawing twice.
    last: Option<(Point, usize)>,
}

impl Device<'_> for Reader<'_> {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        let glyphs = run.glyphs();
        let Some(first) = glyphs.first() else { return };
        let origin = (props.transform * first.transform()) * Point::ZERO;
        if self.last.is_some_and(|(at, count)| count == glyphs.len() && at.distance(origin) < 0.5) {
            return;
        }
        self.last = Some((origin, glyphs.len()));
        let vertical = matches!(run.writing_mode(), WritingMode::Vertical);
        for glyph in glyphs {
            let place = props.transform * glyph.transform();
            let advance = match &**glyph {
                hayro_interpret::font::Glyph::Outline(outline) => outline.advance_width(),
                hayro_interpret::font::Glyph::Type3(drawn) => drawn.advance_width(),
            };
            let (at, up) = (place * Point::ZERO, place * Point::new(0.0, 1000.0));
            let end = if vertical {
                place * Point::new(0.0, -1000.0)
            } else {
                place * Point::new(f64::from(advance.unwrap_or(500.0)), 0.0)
            };
            let along = if vertical { end - at } else { place * Point::new(1000.0, 0.0) - at };
            let placed = Placed { at, along, advance: (end - at).hypot(), size: (up - at).hypot() };
            match glyph.as_unicode() {
                Some(BfString::Char(c)) => self.document.put(placed, c.encode_utf8(&mut [0; 4])),
                Some(BfString::String(text)) => self.document.put(placed, &text),
                None => self.document.put(placed, "\u{fffd}"),
            }
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
