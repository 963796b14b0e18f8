//! Documents over HTTP: submitted ([`submit`], [`upload`]) and read ([`read`]).
//!
//! Here is what both need: how a submitted document is identified, hashed and made into a job.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    problem::{Problem, ProblemCode},
    submit::status_url,
};
use crate::domain::{
    document::{Change, DocumentChange, Format},
    ids::{Collection, DocumentId, JobId, Tenant},
    job::{Kind, NewJob, Priority},
    origin::Origin,
};

pub mod read;
pub mod submit;
pub mod upload;

/// The answer for a document that is not there or not the caller's: the two look the same.
pub fn not_found() -> Problem {
    Problem::new(ProblemCode::DocumentNotFound, "no document of this caller has that id")
}

/// A document's change was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentAccepted {
    /// The job that carries it out.
    pub job_id: JobId,
    /// The document.
    pub document_id: DocumentId,
    /// Where the job's state can be read.
    pub status_url: String,
}

impl DocumentAccepted {
    /// The answer for a job and its document.
    pub fn of(job_id: JobId, document_id: DocumentId) -> Self {
        Self { job_id, document_id, status_url: status_url(job_id) }
    }
}

/// Why one file was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// A stable word.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What became of one file: either `document_id` and `job_id`, or `error`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UploadItem {
    /// The file's name.
    pub name: String,
    /// The document it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub document_id: Option<DocumentId>,
    /// The job that takes it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub job_id: Option<JobId>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<Refusal>,
}

/// A document as it was submitted.
#[derive(Debug)]
pub struct Submission {
    /// The id, if the caller gave one.
    pub document_id: Option<DocumentId>,
    /// The collection it is to be in.
    pub collection: Collection,
    /// The title.
    pub title: String,
    /// Where it came from.
    pub source: Option<String>,
    /// What the bytes are.
    pub format: Format,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Hashes parts so that no two lists of parts hash the same.
fn hash_parts(parts: &[&[u8]]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hash.finalize()
}

const fn format_word(format: Format) -> &'static str {
    match format {
        Format::Markdown => "markdown",
        Format::Text => "text",
        Format::Html => "html",
        Format::Pdf => "pdf",
        Format::Docx => "docx",
    }
}

impl Submission {
    /// The given id, else one that stays the same as long as the collection and the source (or the title) do.
    fn id(&self) -> DocumentId {
        self.document_id.clone().unwrap_or_else(|| {
            let named_by = self.source.as_ref().unwrap_or(&self.title);
            let mut hash = blake3::Hasher::new();
            hash.update(self.collection.as_str().as_bytes()).update(b"\0").update(named_by.as_bytes());
            let hex = hash.finalize().to_hex();
            format!("doc_{}", &hex[..24]).into()
        })
    }

    /// The change this asks for.
    pub fn into_change(self) -> DocumentChange {
        // A source that is absent differs from every source.
        let source = self.source.as_ref().map(|source| format!("+{source}")).unwrap_or_default();
        let (title, collection) = (self.title.as_bytes(), self.collection.as_str().as_bytes());
        let hash =
            hash_parts(&[&self.bytes, format_word(self.format).as_bytes(), title, source.as_bytes(), collection]);
        DocumentChange {
            document_id: self.id(),
            change: Change::Put,
            content_hash: hash.to_hex().to_string(),
            collection: self.collection,
            title: self.title,
            source: self.source,
            format: self.format,
            upload: self.bytes,
        }
    }
}

/// The job that carries a change out. Its payload describes the change; the bytes travel beside it.
pub fn job(id: JobId, tenant: Tenant, change: DocumentChange, max_attempts: u32) -> NewJob {
    let payload = json!({
        "kind": Kind::Ingest,
        "change": change.change,
        "document_id": change.document_id,
        "collection": change.collection,
        "title": change.title,
        "source": change.source,
        "format": change.format,
        "content_hash": change.content_hash,
    });
    NewJob {
        id,
        tenant,
        kind: Kind::Ingest,
        priority: Priority::Low,
        payload,
        max_attempts,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: Some(change),
        origin: Origin::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(title: &str, source: Option<&str>, text: &str) -> Submission {
        Submission {
            document_id: None,
            collection: Collection::default(),
            title: title.into(),
            source: source.map(str::to_owned),
            format: Format::Markdown,
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_id_is_made_of_collection_and_source_or_else_title() {
        let id = |title, source| submission(title, source, "x").into_change().document_id;
        assert_eq!(id("a", Some("s")), id("b", Some("s")));
        assert_ne!(id("a", None), id("b", None));
        assert_eq!(id("a", None).as_str().len(), 28);
        let mut other = submission("a", None, "x");
        other.collection = "other".into();
        assert_ne!(other.into_change().document_id, id("a", None));
    }

    #[test]
    fn the_content_hash_knows_every_part() {
        let hash = |title, source, text| submission(title, source, text).into_change().content_hash;
        let first = hash("a", None, "x");
        assert_eq!(first, hash("a", None, "x"));
        for other in [hash("b", None, "x"), hash("a", Some(""), "x"), hash("a", Some("s"), "x"), hash("a", None, "y")] {
            assert_ne!(first, other);
        }
    }
}
