//! `POST /documents` and `DELETE /documents/{id}`: a change of a document becomes a job.

use axum::{
    Extension,
    extract::{FromRequest, Request, State},
    response::Response,
};
use http::{HeaderMap, header};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    super::{
        auth::{Caller, Submitter},
        fields::{COLLECTION, DOCUMENT_ID, Fields, SOURCE, TITLE, Text},
        input::{Body, DocumentPath, Params, idempotency_key},
        problem::{FieldError, Problem, ProblemCode, Result},
        request::Received,
        state::ApiState,
        submit::{Stored, accepted, idempotency, submit},
    },
    DocumentAccepted, Refusal, Submission, UploadItem, job, not_found,
    upload::{self, File, Upload},
};
use crate::{
    domain::{
        document::{Change, DocumentChange, Format},
        failure::Failure,
        ids::{Collection, DocumentId, JobId, Tenant},
        job::NewJob,
    },
    extract::accept,
};

/// A document as text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentRequest {
    /// The title; not only white space, no control characters.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    )]
    title: String,
    /// The text, as Markdown; not only white space.
    #[schema(min_length = 1, pattern = r"[^\s\u0000-\u001f\u007f-\u009f]")]
    text: String,
    /// Where it came from: a path, a URL.
    #[schema(
        nullable,
        min_length = 1,
        max_length = 2000,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    )]
    source: Option<String>,
    /// The collection it is to be in; `default` if not said.
    #[schema(nullable, min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9._-]{1,100}$")]
    collection: Option<String>,
    /// Its id; if not said, made from the collection and the source (or else the title), so that the same
    /// source is the same document.
    #[schema(nullable, min_length = 1, max_length = 200, pattern = "^[.]*[A-Za-z0-9_:-][A-Za-z0-9._:-]*$")]
    document_id: Option<String>,
}

/// Files.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// The collection that all files are to be in; `default` if not said.
    #[schema(nullable = false, min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9._-]{1,100}$")]
    collection: Option<String>,
    /// The files (.md .txt .html .pdf .docx), each with its filename; the parts may have any name.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1)]
    file: Vec<Vec<u8>>,
}

/// What became of the files of one upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    /// Per file, in order.
    pub items: Vec<UploadItem>,
}

fn read_json(mut fields: Fields, max_text_bytes: u64) -> Result<Submission> {
    let prose = Text::prose(usize::MAX, "must say something");
    let submission = Submission {
        title: fields.required_text("title", TITLE),
        bytes: fields.required_text("text", prose).into_bytes(),
        source: fields.text("source", SOURCE),
        collection: fields.text("collection", COLLECTION).map(Collection::from).unwrap_or_default(),
        document_id: fields.text("document_id", DOCUMENT_ID).map(DocumentId::from),
        format: Format::Markdown,
    };
    if submission.bytes.len() as u64 > max_text_bytes {
        fields.fail("text", format!("must be no longer than {max_text_bytes} bytes"));
    }
    fields.finish().map(|()| submission)
}

/// Who submits, and with which headers.
struct Sender<'a> {
    state: &'a ApiState,
    tenant: Tenant,
    key: Option<String>,
    request: &'a Received,
}

impl Sender<'_> {
    fn job(&self, id: JobId, change: DocumentChange, key: Option<String>) -> NewJob {
        let mut job = job(id, self.tenant.clone(), change, self.state.queue.max_attempts);
        job.idempotency = idempotency(key, &job.payload);
        job
    }

    async fn text(&self, submission: Submission) -> Result<Response> {
        let change = submission.into_change();
        let document_id = change.document_id.clone();
        let stored = submit(self.state, self.request, self.job(self.request.job_id, change, self.key.clone())).await?;
        Ok(accepted(stored, DocumentAccepted::of(stored.id, document_id)))
    }

    async fn file(&self, place: usize, file: File, collection: &Collection) -> Result<(DocumentId, Stored), Refused> {
        let format = accept(&file.name, &file.bytes)?;
        let title = file.name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(&file.name).to_owned();
        let submission = Submission {
            document_id: None,
            collection: collection.clone(),
            title,
            source: Some(file.name),
            format,
            bytes: file.bytes,
        };
        let change = submission.into_change();
        let document_id = change.document_id.clone();
        // One request, many jobs: each has an id and a key of its own, which no caller's key can be.
        let id = JobId::new(self.state.clock.now().0);
        let key = self.key.as_ref().map(|key| format!("{key}\u{1f}{place}"));
        let stored = submit(self.state, self.request, self.job(id, change, key)).await?;
        Ok((document_id, stored))
    }

    async fn files(&self, upload: Upload) -> Result<Response> {
        let mut items = Vec::with_capacity(upload.files.len());
        let (mut first, mut errors, mut not_our_fault) = (None, Vec::new(), None);
        for (place, file) in upload.files.into_iter().enumerate() {
            let name = file.name.clone();
            match self.file(place, file, &upload.collection).await {
                Ok((document_id, stored)) => {
                    first.get_or_insert(stored);
                    let (document_id, job_id) = (Some(document_id), Some(stored.id));
                    items.push(UploadItem { name, document_id, job_id, error: None });
                }
                Err(Refused { refusal, problem }) => {
                    not_our_fault = not_our_fault.or(problem);
                    errors.push(FieldError { field: name.clone(), message: refusal.message.clone() });
                    items.push(UploadItem { name, document_id: None, job_id: None, error: Some(refusal) });
                }
            }
        }
        let Some(stored) = first else {
            // A queue that is full is no fault of the files: it is answered as for any other submit.
            let all_refused = || Problem::new(ProblemCode::AllRefused, "no file was accepted; see items");
            let problem = not_our_fault.unwrap_or_else(all_refused);
            return Err(problem.with_items(json!(items), errors));
        };
        let mut response = accepted(stored, Uploaded { items });
        response.headers_mut().remove(header::LOCATION);
        Ok(response)
    }
}

/// Why a file became no job: what its item says, and what the whole answer is if there is no other.
struct Refused {
    refusal: Refusal,
    problem: Option<Problem>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { refusal: Refusal { code: failure.code.as_str(), message: failure.message }, problem: None }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let refusal = Refusal { code: problem.code().as_str(), message: problem.detail().to_owned() };
        Self { refusal, problem: Some(problem) }
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// Submit documents
///
/// One document as JSON, or files as multipart. Each becomes a job of the queue. Content that is already
/// there makes a job too, which completes with `"unchanged": true`. Changed content replaces all of the
/// old; of several submissions of one document the newest wins.
#[utoipa::path(
    post, path = "/documents", tag = "documents", operation_id = "submit_documents",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request find the first one's jobs; bare or a quoted string")),
    request_body(content((DocumentRequest = "application/json"), (UploadRequest = "multipart/form-data"))),
    responses(
        (status = 202, description = "Stored: as JSON one document, as multipart per file what became of it", body = DocumentsAccepted),
        (status = 429, description = "Over the rate of this key"),
    ),
    security(("api_key" = [])),
)]
pub async fn submit_documents(
    State(state): State<ApiState>,
    Submitter { tenant }: Submitter,
    Extension(received): Extension<Received>,
    Params(params): Params,
    request: Request,
) -> Result<Response> {
    params.finish()?;
    let headers = request.headers().clone();
    let key = idempotency_key(&headers)?;
    let sender = Sender { state: &state, tenant, key, request: &received };
    if is_multipart(&headers) {
        let upload = upload::read(request, &state).await?;
        return sender.files(upload).await;
    }
    let body = Body::from_request(request, &state).await?;
    let fields = Fields::of_json(body.json()?)?;
    sender.text(read_json(fields, state.ingest.max_text_bytes)?).await
}

/// What `POST /documents` answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum DocumentsAccepted {
    /// To JSON.
    One(DocumentAccepted),
    /// To multipart.
    Many(Uploaded),
}

/// Delete a document
///
/// A deletion is a version like any other: it goes through the queue, and a newer submission undoes it.
#[utoipa::path(
    delete, path = "/documents/{id}", tag = "documents", operation_id = "delete_document",
    params(("id" = String, Path, min_length = 1, max_length = 200, pattern = "^[.]*[A-Za-z0-9_:-][A-Za-z0-9._:-]*$", description = "The document's id")),
    responses(
        (status = 202, description = "The deletion is stored", body = DocumentAccepted),
        (status = 404, description = "No such document of the caller"),
    ),
    security(("api_key" = [])),
)]
pub async fn delete_document(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    DocumentPath(id): DocumentPath,
    Extension(received): Extension<Received>,
    Params(params): Params,
) -> Result<Response> {
    params.finish()?;
    let record = state.store.document(&tenant, &id).await?.ok_or_else(not_found)?;
    let change = DocumentChange {
        document_id: record.document_id,
        change: Change::Delete,
        collection: record.collection,
        title: record.title,
        source: record.source,
        content_hash: String::new(),
        format: Format::Text,
        upload: Vec::new(),
    };
    let sender = Sender { state: &state, tenant, key: None, request: &received };
    let stored = submit(&state, &received, sender.job(received.job_id, change, None)).await?;
    Ok(accepted(stored, DocumentAccepted::of(stored.id, id)))
}
