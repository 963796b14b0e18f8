//! Takes multipart bodies apart into files and fields.
//!
//! The whole body is read, once and within its limit, before anything is submitted: a body that breaks off
//! in the middle leaves nothing behind. What ingestion needs is moved on, never copied.

use axum::extract::{
    FromRequest, Multipart, Request,
    multipart::{Field, MultipartError},
};
use http::StatusCode;

use super::super::{
    fields::{COLLECTION, Fields, TITLE},
    input::{check_length, too_large},
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

/// Reads a multipart body.
pub async fn read(request: Request, state: &ApiState) -> Result<Upload> {
    check_length(request.headers(), state)?;
    let mut multipart = Multipart::from_request(request, state).await.map_err(|_| {
        Problem::new(ProblemCode::InvalidMultipart, "the content type multipart/form-data names no valid boundary")
    })?;
    let (mut files, mut texts, mut parts) = (Vec::new(), Vec::new(), 0);
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(&error, state))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Problem::field("body", format!("may have {MAX_PARTS} parts")));
        }
        let (name, file) = (field.name().unwrap_or_default().to_owned(), field.file_name().map(str::to_owned));
        let bytes = bytes(field, state).await?;
        match file {
            Some(name) => files.push(File { name, bytes }),
            None => texts.push((name, String::from_utf8_lossy(&bytes).into_owned())),
        }
    }
    let mut fields = Fields::of_query(texts);
    let collection = fields.text("collection", COLLECTION).map(Collection::from).unwrap_or_default();
    if files.is_empty() {
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
