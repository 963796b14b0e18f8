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
    domain::audit::{ActionId, AdminAction, AuditEntry, AuditNote, AuditStage},
    queue::Page,
};

/// What an operator is about to do.
#[derive(Clone, Debug)]
pub struct Deed {
    action: AdminAction,
    subject: Option<String>,
    detail: Option<Value>,
}

impl Deed {
    /// An action.
    pub fn new(action: AdminAction) -> Self {
        Self { action, subject: None, detail: None }
    }

    /// What it is done to.
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
    /// Does something that tells to how many it was done. It is in the audit log before it is done, or it is not done;
    /// and once more with its outcome. A process that ends between the two leaves it there as begun.
    pub async fn does<T>(
        &self,
        state: &ApiState,
        deed: Deed,
        action: impl Future<Output = Result<(u64, T)>>,
    ) -> Result<T> {
        let Deed { action: what, subject, detail } = deed;
        let mut note = AuditNote {
            action_id: Some(ActionId::new(state.clock.now())),
            action: what,
            stage: AuditStage::Begun,
            actor: self.name.to_owned(),
            remote_address: self.remote_address.map(|address| address.to_string()),
            request_id: self.request_id.clone(),
            subject,
            count: 0,
            detail,
        };
        state.store.note(&note).await?;
        let done = action.await;
        note.stage = if done.is_ok() { AuditStage::Done } else { AuditStage::Failed };
        note.count = done.as_ref().map_or(0, |(count, _)| *count);
        let AuditNote { stage, actor, count, .. } = &note;
        let (subject, remote) = (note.subject.as_deref(), note.remote_address.as_deref());
        tracing::info!(action = %what, %stage, actor, remote, subject, count, "an operator acted");
        if let Err(error) = state.store.note(&note).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(action = %what, %stage, subject, count, error, "an outcome is missing in the audit log");
        }
        done.map(|(_, result)| result)
    }
}

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
