//! `GET /admin/audit`: what operators did. What is written there, and when, is in [`super::deeds`].

use axum::{Json, extract::State};

use super::{
    auth::Admin,
    input::Params,
    lists::{PageRequest, sealed},
    problem::Result,
    state::ApiState,
};
use crate::{domain::audit::AuditEntry, queue::Page};

/// Read what operators did
///
/// Newest first: of each action an entry before it, and one with its outcome after it. Nothing can be changed or
/// removed; entries go when their retention is over.
#[utoipa::path(
    get, path = "/admin/audit", tag = "operator", operation_id = "audit_log",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 500, description = "Most items; 50 if not said"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<AuditEntry>)),
    security(("admin_token" = [])),
)]
pub async fn audit(
    State(state): State<ApiState>,
    _: Admin,
    Params(mut params): Params,
) -> Result<Json<Page<AuditEntry>>> {
    let PageRequest { limit, cursor } = PageRequest::read(&mut params);
    params.finish()?;
    let page = state.store.audit(cursor.as_deref(), limit).await?;
    Ok(Json(sealed(page)))
}
