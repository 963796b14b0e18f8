//! Documents as the registry knows them. The registry decides which version of a document is seen.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    clock::Timestamp,
    ids::{Collection, DocumentId, JobId},
};

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Markdown (`.md`, `.markdown`).
    Markdown,
    /// Plain text (`.txt`, `.text`).
    Text,
    /// HTML (`.html`, `.htm`).
    Html,
    /// PDF (`.pdf`).
    Pdf,
    /// Office Open XML text (`.docx`).
    Docx,
}

/// What a submission wants of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The document's content is to be what was uploaded.
    Put,
    /// The document is to be gone.
    Delete,
}

/// A change of a document, submitted together with the job that carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    /// The document.
    pub document_id: DocumentId,
    /// Put or delete.
    pub change: Change,
    /// The collection it is to be in.
    pub collection: Collection,
    /// The title.
    pub title: String,
    /// Where it came from.
    pub source: Option<String>,
    /// Hash of all that makes the content (bytes, format, title, source, collection): equal means unchanged.
    pub content_hash: String,
    /// The format of the uploaded bytes.
    pub format: Format,
    /// The uploaded bytes; empty for a deletion. Kept until the job ends.
    pub upload: Vec<u8>,
}

/// A submitted change with the version it got: the highest version wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentVersion {
    /// The document.
    pub document_id: DocumentId,
    /// Put or delete.
    pub change: Change,
    /// The collection it is to be in.
    pub collection: Collection,
    /// The title.
    pub title: String,
    /// Where it came from.
    pub source: Option<String>,
    /// Hash of the content.
    pub content_hash: String,
    /// The format of the uploaded bytes.
    pub format: Format,
    /// Rises by one with every submission for the document, from 1.
    pub version: u64,
}

/// What a finished ingestion makes of its document, written in the same step as the job's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentCommit {
    /// The chunks of this version are in the index and are now the ones to be seen.
    Replaced {
        /// The title it goes by: the document's own where only a file name was given.
        title: String,
        /// What its chunks were made with.
        made_with: Option<String>,
        /// How many chunks.
        chunks: u32,
        /// Size of the normalised text in bytes.
        text_bytes: u64,
    },
    /// The content is what is already seen: only the version is taken note of.
    Unchanged,
    /// The document is gone.
    Deleted,
    /// A newer version was applied first: nothing changes.
    Superseded,
}

/// A document's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentState {
    /// Submitted, never yet ingested.
    Pending,
    /// Can be found.
    Ready,
    /// Its only ingestion so far failed.
    Failed,
    /// A deletion was submitted and waits.
    Deleting,
}

impl DocumentState {
    /// The state of a document of which a version is seen or not, whose newest submission is a deletion that waits
    /// or not, and that has jobs waiting or not.
    pub const fn of(seen: bool, deletion_waits: bool, jobs_wait: bool) -> Self {
        if deletion_waits {
            Self::Deleting
        } else if seen {
            Self::Ready
        } else if jobs_wait {
            Self::Pending
        } else {
            Self::Failed
        }
    }
}

/// A document as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentRecord {
    /// The document.
    pub document_id: DocumentId,
    /// The title.
    pub title: String,
    /// Where it came from.
    pub source: Option<String>,
    /// The collection it is in.
    pub collection: Collection,
    /// The state.
    pub state: DocumentState,
    /// The version whose chunks are seen; none before the first ingestion.
    pub version: Option<u64>,
    /// Hash of the content that is seen.
    #[serde(skip)]
    pub content_hash: Option<String>,
    /// What the chunks that are seen were made with: the embedding model, and the revision of the analysis where an
    /// index stays with it. Stores keep it as `embedding_model`, all it was at first: what a ragq wrote that knew of no
    /// revision reads as made with another.
    #[serde(skip)]
    pub made_with: Option<String>,
    /// The highest version that was applied (also by "unchanged" and deletion).
    #[serde(skip)]
    pub applied_version: u64,
    /// How many chunks are seen.
    pub chunks: u32,
    /// Size of the normalised text in bytes.
    pub size_bytes: u64,
    /// When the document was first submitted.
    pub created_at: Timestamp,
    /// When its visible content last changed.
    pub updated_at: Timestamp,
    /// The job of the newest submission.
    pub job_id: JobId,
    /// Why the newest ingestion failed, if it did.
    pub error: Option<super::job::JobError>,
}

/// A collection as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionRecord {
    /// The name.
    pub name: Collection,
    /// How many documents it holds.
    pub documents: u64,
    /// How many chunks they have.
    pub chunks: u64,
    /// Size of their normalised text in bytes.
    pub size_bytes: u64,
}

/// A chunk as the index keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    /// Its number within the document, from 0.
    pub ordinal: u32,
    /// Where it begins in the document's normalised text, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// The normalised text from `start` to `end`.
    pub text: String,
}
