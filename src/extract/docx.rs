//! Word documents, by way of Markdown (`undoc`).

use std::io::Cursor;

use undoc::{
    Error,
    docx::DocxParser,
    render::{self, RenderOptions},
};
use zip::ZipArchive;

use super::{blocks::Draft, decode, markdown};
use crate::domain::failure::{Code, Failure};

/// A part may unpack to this many times its packed size: text and markup stay below thirty.
const MAX_EXPANSION: u64 = 100;

/// Below this size a part may expand as it likes.
const FREE_BYTES: u64 = 1024 * 1024;

/// Reads a document that unpacks to at most `max_unpacked` bytes.
pub(super) fn draft(bytes: Vec<u8>, max_unpacked: u64) -> Result<Draft, Failure> {
    check_sizes(&bytes, max_unpacked)?;
    let document = DocxParser::from_bytes(bytes).and_then(|mut parser| parser.parse()).map_err(failure)?;
    let options = RenderOptions::new().with_images(false).with_frontmatter(false);
    let text = render::to_markdown(&document, &options).map_err(failure)?;
    let mut draft = markdown::markdown(decode::normalise(&text));
    draft.title = draft.title.or(document.metadata.title);
    Ok(draft)
}

/// Refuses archives that say they unpack to more than can be meant. Those that lie about it are stopped by
/// the reader's own guard and the memory limit.
fn check_sizes(bytes: &[u8], max_unpacked: u64) -> Result<(), Failure> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let part = archive.by_index_raw(index).map_err(damaged)?;
        if part.encrypted() {
            return Err(encrypted());
        }
        total = total.saturating_add(part.size());
        let bomb = part.size() > FREE_BYTES && part.size() > part.compressed_size().saturating_mul(MAX_EXPANSION);
        if bomb || total > max_unpacked {
            return Err(Failure::new(Code::DocumentTooLarge, "the document unpacks to far more than it should"));
        }
    }
    Ok(())
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Encrypted => encrypted(),
        error => damaged(error),
    }
}

fn encrypted() -> Failure {
    Failure::new(Code::DocumentEncrypted, "the document is protected by a password")
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Code::DocumentDamaged, "the document is damaged or cut short").with_source(error)
}
