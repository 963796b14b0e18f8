//! Takes multipart bodies apart into files and fields.
//!
//! The whole body is read, once and within its limit, before anything is submitted: a body that breaks off
//! in the middle leaves nothing behind. What ingestion needs is moved on, never copied.

use axum::extract::{
    FromRequest, Multipart, Request,
    multipart::{Field, MultipartError},
};
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;

use super::super::{
    fields::{COLLECTION, Fields, TITLE},
    input::{check_head, too_large},
    problem::{Problem, ProblemCode, Result},
    state::ApiState,
};
use crate::domain::ids::Collection;

/// Most parts that a body may have.
const MAX_PARTS: usize = 1_000;

/// A file of a multipart body.
#[derive(Debug)]
pub struct File {
    /// Its name, with folders if the caller sent them.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What a multipart body held.
#[derive(Debug)]
pub struct Upload {
    /// The collection for all files.
    pub collection: Collection,
    /// The files in order; at least one.
    pub files: Vec<File>,
}

fn broken(error: &MultipartError, state: &ApiState) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large(state.api.max_body_bytes);
    }
    Problem::new(ProblemCode::InvalidMultipart, "the multipart body is malformed or ends too early")
}

async fn bytes(mut field: Field<'_>, state: &ApiState) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error, state))? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What a part says of a file.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// It is none.
    No,
    /// The file's name.
    Yes(String),
    /// It is one, but its name can't be read.
    Unreadable,
}

/// The name in `filename*` (RFC 8187), which some clients send for names beyond ASCII, some of them alone; it
/// wins over `filename`, which then is a makeshift.
fn extended_name(disposition: &str) -> Option<String> {
    let mut quoted = false;
    let mut parts = disposition.split(|c| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    let value = parts.find_map(|part| part.trim().strip_prefix("filename*="))?;
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| name.into_owned())
}

fn named(field: &Field<'_>) -> Named {
    let Some(disposition) = field.headers().get(header::CONTENT_DISPOSITION) else { return Named::No };
    let Ok(text) = str::from_utf8(disposition.as_bytes()) else { return Named::Unreadable };
    match extended_name(text).or_else(|| field.file_name().map(str::to_owned)) {
        Some(name) => Named::Yes(name),
        None => Named::No,
    }
}

/// Reads a multipart body.
pub async fn read(request: Request, state: &ApiState) -> Result<Upload> {
    check_head(request.headers(), state)?;
    let mut multipart = Multipart::from_request(request, state).await.map_err(|_| {
        Problem::new(ProblemCode::InvalidMultipart, "the content type multipart/form-data names no valid boundary")
    })?;
    let (mut files, mut texts, mut unreadable, mut parts) = (Vec::new(), Vec::new(), 0, 0);
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(&error, state))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Problem::field("body", format!("may have {MAX_PARTS} parts")));
        }
        let (name, file) = (field.name().unwrap_or_default().to_owned(), named(&field));
        let bytes = bytes(field, state).await?;
        match file {
            Named::Yes(name) => files.push(File { name, bytes }),
            Named::Unreadable => unreadable += 1,
            Named::No => texts.push((name, String::from_utf8_lossy(&bytes).into_owned())),
        }
    }
    let mut fields = Fields::of_query(texts);
    let collection = fields.text("collection", COLLECTION).map(Collection::from).unwrap_or_default();
    if unreadable > 0 {
        fields.fail("filename", "must be UTF-8");
    } else if files.is_empty() {
        fields.fail("file", "is required: send at least one part with a filename");
    }
    for file in &files {
        if file.name.chars().count() > TITLE.max_chars || !(TITLE.fits)(&file.name) {
            fields.fail("filename", TITLE.rule);
        }
    }
    fields.finish()?;
    Ok(Upload { collection, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extended_name_is_found_only_where_it_stands_as_one() {
        let name = |rest: &str| extended_name(&format!("form-data; name=\"file\"{rest}"));
        assert_eq!(name("; filename*=UTF-8''caf%C3%A9%3B.md").as_deref(), Some("café;.md"));
        assert_eq!(name("; filename=\"x.md\"; filename*=utf-8'de'a.md").as_deref(), Some("a.md"));
        for none in [
            "",
            "; filename=\"a.md\"",
            "; filename=\"; filename*=UTF-8''a.md\"",
            "; filename*=iso-8859-1''caf%E9.md",
            "; filename*=UTF-8''caf%E9.md",
            "; filename*=a.md",
        ] {
            assert_eq!(name(none), None, "{none}");
        }
    }
}
