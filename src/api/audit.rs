//! The audit log: what every handler that acts for an operator writes, and `GET /admin/audit`.

use axum::{Json, extract::State};
use serde_json::Value;

use super::{
    auth::Admin,
    input::Params,
    lists::{PageRequest, sealed},
    problem::Result,
    state::ApiState,
};
use crate::{
    domain::audit::{AdminAction, AuditEntry, AuditNote},
    queue::Page,
};

/// What an operator did.
#[derive(Clone, Debug)]
pub struct Deed {
    action: AdminAction,
    subject: Option<String>,
    count: u64,
    detail: Option<Value>,
}

impl Deed {
    /// An action, to so many.
    pub fn new(action: AdminAction, count: u64) -> Self {
        Self { action, subject: None, count, detail: None }
    }

    /// What it was done to.
    #[must_use]
    pub fn to(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// What was asked for; never a payload. What was left out is left out here, too.
    #[must_use]
    pub fn asked(self, mut detail: Value) -> Self {
        if let Value::Object(members) = &mut detail {
            members.retain(|_, value| !value.is_null());
        }
        Self { detail: Some(detail), ..self }
    }
}

impl Admin {
    /// Notes what was done, in the log and in the audit log. It is done by now: a store that can't note it fails no
    /// request, and the log has it.
    pub async fn did(&self, state: &ApiState, deed: Deed) {
        let Deed { action, subject, count, detail } = deed;
        let note = AuditNote {
            action,
            actor: self.name.to_owned(),
            remote_address: self.remote_address.map(|address| address.to_string()),
            request_id: self.request_id.clone(),
            subject,
            count,
            detail,
        };
        let (subject, remote) = (note.subject.as_deref(), note.remote_address.as_deref());
        tracing::info!(%action, actor = note.actor, remote, subject, count, "an operator acted");
        if let Err(error) = state.store.note(&note).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%action, subject, count, error, "an operator's action is missing in the audit log");
        }
    }
}

/// Read what operators did
///
/// Newest first. Nothing can be changed or removed; entries go when their retention is over.
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
