//! Word documents, by way of Markdown (`undoc`).

use std::{
    collections::HashMap,
    io::{Cursor, Read as _, Write as _},
};

use undoc::{
    Error,
    docx::DocxParser,
    render::{self, RenderOptions},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipResult, write::SimpleFileOptions};

use super::{blocks::Draft, decode, markdown};
use crate::domain::failure::{Code, Failure};

/// A part may unpack to this many times its packed size: text and markup stay below thirty.
const MAX_EXPANSION: u64 = 100;

/// Below this size a part may expand as it likes.
const FREE_BYTES: u64 = 1024 * 1024;

/// A link without a target, as it is written.
const NO_TARGET: &str = "Target=\"\"";

/// A list of links longer than this is left as it is.
const MAX_LINKS_BYTES: u64 = 8 * 1024 * 1024;

/// Reads a document that unpacks to at most `max_unpacked` bytes.
pub(super) fn draft(bytes: Vec<u8>, max_unpacked: u64) -> Result<Draft, Failure> {
    check_sizes(&bytes, max_unpacked)?;
    let bytes = with_targets(&bytes).map_err(damaged)?.unwrap_or(bytes);
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

/// The document with a target for every link that has none, if it holds such links: programs write them for
/// an empty address, Word opens them, and the reader refuses the whole document for one.
fn with_targets(bytes: &[u8]) -> ZipResult<Option<Vec<u8>>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let mut mended: HashMap<usize, String> = HashMap::new();
    for index in 0..archive.len() {
        // Parts that can't be read are the reader's business, which knows which of them matter.
        let Ok(part) = archive.by_index(index) else { continue };
        if !part.name().is_ok_and(|name| name.ends_with(".rels")) || part.size() > MAX_LINKS_BYTES {
            continue;
        }
        let mut text = String::new();
        let whole = part.take(MAX_LINKS_BYTES).read_to_string(&mut text).is_ok();
        if whole && text.contains(NO_TARGET) {
            mended.insert(index, text.replace(NO_TARGET, "Target=\"#\""));
        }
    }
    if mended.is_empty() {
        return Ok(None);
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(bytes.len())));
    for index in 0..archive.len() {
        let part = archive.by_index_raw(index)?;
        match mended.get(&index) {
            None => writer.raw_copy_file(part)?,
            Some(text) => {
                let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
                writer.start_file(part.name()?, options)?;
                writer.write_all(text.as_bytes())?;
            }
        }
    }
    Ok(Some(writer.finish()?.into_inner()))
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
