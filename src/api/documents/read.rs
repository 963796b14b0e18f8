//! Reading documents: lists, one record, its normalised text, its chunks.
//!
//! The registry says which version is seen, the index has its text. A version may be swept between the two
//! looks; then the registry is asked again.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        auth::Caller,
        fields::{COLLECTION, Fields},
        input::{DocumentPath, Params},
        lists::{PageRequest, seal, sealed},
        problem::{Problem, ProblemCode, Result},
        state::ApiState,
    },
    not_found,
};
use crate::{
    domain::{
        document::{Chunk, CollectionRecord, DocumentRecord},
        ids::{Collection, DocumentId, Tenant},
    },
    queue::Page,
};

/// How often the registry is asked again when the index no longer has the version it named.
const LOOKS: usize = 3;

/// All collections that hold documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Collections {
    /// By name.
    pub items: Vec<CollectionRecord>,
    /// Always null: there is one page.
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<String>,
}

async fn record(state: &ApiState, tenant: &Tenant, id: &DocumentId) -> Result<DocumentRecord> {
    state.store.document(tenant, id).await?.ok_or_else(not_found)
}

async fn visible(state: &ApiState, tenant: &Tenant, id: &DocumentId) -> Result<(DocumentRecord, u64)> {
    let record = record(state, tenant, id).await?;
    let not_ready = || Problem::new(ProblemCode::DocumentNotReady, "its ingestion has not completed; see its job");
    let version = record.version.ok_or_else(not_ready)?;
    Ok((record, version))
}

/// List documents
#[utoipa::path(
    get, path = "/documents", tag = "documents", operation_id = "list_documents",
    params(
        ("collection" = Option<String>, Query, min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9._-]{1,100}$", description = "Only this collection"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 500, description = "Most items; 50 if not said"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<DocumentRecord>)),
    security(("api_key" = [])),
)]
pub async fn list_documents(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    Params(mut params): Params,
) -> Result<Json<Page<DocumentRecord>>> {
    let PageRequest { limit, cursor } = PageRequest::read(&mut params);
    let collection = params.text("collection", COLLECTION).map(Collection::from);
    params.finish()?;
    let page = state.store.documents(&tenant, collection.as_ref(), cursor.as_deref(), limit).await?;
    Ok(Json(sealed(page)))
}

/// Read a document's record
#[utoipa::path(
    get, path = "/documents/{id}", tag = "documents", operation_id = "get_document",
    params(("id" = String, Path, min_length = 1, max_length = 200, pattern = "^[.]*[A-Za-z0-9_:-][A-Za-z0-9._:-]*$", description = "The document's id")),
    responses(
        (status = 200, description = "The document", body = DocumentRecord),
        (status = 404, description = "No such document of the caller"),
    ),
    security(("api_key" = [])),
)]
pub async fn get_document(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    DocumentPath(id): DocumentPath,
    Params(params): Params,
) -> Result<Json<DocumentRecord>> {
    params.finish()?;
    record(&state, &tenant, &id).await.map(Json)
}

/// Read a document's normalised text
///
/// The spans of chunks and citations point into it.
#[utoipa::path(
    get, path = "/documents/{id}/text", tag = "documents", operation_id = "get_document_text",
    params(("id" = String, Path, min_length = 1, max_length = 200, pattern = "^[.]*[A-Za-z0-9_:-][A-Za-z0-9._:-]*$", description = "The document's id")),
    responses(
        (status = 200, description = "The text", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 404, description = "No such document of the caller, or not ingested yet"),
    ),
    security(("api_key" = [])),
)]
pub async fn get_text(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    DocumentPath(id): DocumentPath,
    Params(params): Params,
) -> Result<Response> {
    params.finish()?;
    for _ in 0..LOOKS {
        let (_, version) = visible(&state, &tenant, &id).await?;
        if let Some(text) = state.index.text(&tenant, &id, version).await? {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            return Ok(([(header::CONTENT_TYPE, plain)], text).into_response());
        }
    }
    Err(Problem::new(ProblemCode::DocumentNotReady, "the index has no text of the document; submit it again"))
}

/// Where a page of chunks begins, and of which version.
fn chunk_cursor(fields: &mut Fields, cursor: Option<&str>) -> Option<(u64, u32)> {
    let cursor = cursor?;
    let place = cursor.split_once(':').and_then(|(version, from)| Some((version.parse().ok()?, from.parse().ok()?)));
    if place.is_none() {
        fields.fail("cursor", "must be the next_cursor of an earlier answer");
    }
    place
}

/// List a document's chunks
///
/// All pages are of one version: if the document changes in between, the next page is a 409.
#[utoipa::path(
    get, path = "/documents/{id}/chunks", tag = "documents", operation_id = "get_document_chunks",
    params(
        ("id" = String, Path, min_length = 1, max_length = 200, pattern = "^[.]*[A-Za-z0-9_:-][A-Za-z0-9._:-]*$", description = "The document's id"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 500, description = "Most items; 50 if not said"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<Chunk>),
        (status = 404, description = "No such document of the caller, or not ingested yet"),
        (status = 409, description = "The document has changed since the first page"),
    ),
    security(("api_key" = [])),
)]
pub async fn get_chunks(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    DocumentPath(id): DocumentPath,
    Params(mut params): Params,
) -> Result<Json<Page<Chunk>>> {
    let PageRequest { limit, cursor } = PageRequest::read(&mut params);
    let place = chunk_cursor(&mut params, cursor.as_deref());
    params.finish()?;
    for _ in 0..LOOKS {
        let (record, version) = visible(&state, &tenant, &id).await?;
        let from = match place {
            Some((of, _)) if of != version => {
                return Err(Problem::new(ProblemCode::DocumentChanged, "begin again without a cursor"));
            }
            Some((_, from)) => from,
            None => 0,
        };
        let items = state.index.chunks(&tenant, &id, version, from, limit).await?;
        if items.is_empty() && from < record.chunks {
            continue;
        }
        let next = items.last().map(|chunk| chunk.ordinal + 1).filter(|next| *next < record.chunks);
        return Ok(Json(Page { items, next_cursor: next.map(|next| seal(&format!("{version}:{next}"))) }));
    }
    Err(Problem::new(ProblemCode::DocumentNotReady, "the index has no chunks of the document; submit it again"))
}

/// List collections
#[utoipa::path(
    get, path = "/collections", tag = "documents", operation_id = "list_collections",
    responses((status = 200, description = "All collections", body = Collections)),
    security(("api_key" = [])),
)]
pub async fn list_collections(
    State(state): State<ApiState>,
    Caller { tenant }: Caller,
    Params(params): Params,
) -> Result<Json<Collections>> {
    params.finish()?;
    Ok(Json(Collections { items: state.store.collections(&tenant).await?, next_cursor: None }))
}
