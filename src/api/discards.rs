//! `POST /admin/dlq/discard`: many dead letters removed at once.

use axum::{Json, extract::State};
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    admin::letter_filter,
    auth::Admin,
    deeds::{Deed, Progress},
    fields::Fields,
    input::{Body, Params},
    many::Extent,
    problem::Result,
    state::ApiState,
};
use crate::{
    domain::{
        audit::AdminAction,
        failure::Code,
        job::{DeadReason, Kind},
    },
    queue::DeadLetterFilter,
};

/// Letters removed at the same time.
const TOGETHER: usize = 100;

/// Which dead letters are to be removed; what is left out narrows nothing down.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardRequest {
    /// Died for this reason.
    #[schema(nullable)]
    reason: Option<DeadReason>,
    /// With this code.
    #[schema(nullable)]
    code: Option<Code>,
    /// Of this kind.
    #[schema(nullable)]
    kind: Option<Kind>,
    /// No more than so many, the newest.
    #[schema(nullable, minimum = 1, maximum = 1_000_000_000_u64)]
    limit: Option<u64>,
    /// Only say how many match.
    #[schema(nullable)]
    dry_run: Option<bool>,
}

/// What was removed.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Discarded {
    /// Dead letters that match, within the limit.
    pub matched: u64,
    /// Those of them that were removed; others were replayed or removed meanwhile.
    pub discarded: u64,
}

/// Discard many dead letters for good
///
/// All that match when the request comes. It goes on to its end even if nobody waits for the answer; should it fail
/// midway, the problem's `done` says after how many.
#[utoipa::path(
    post, path = "/admin/dlq/discard", tag = "operator", operation_id = "discard_dead_letters",
    request_body(content = DiscardRequest, content_type = "application/json"),
    responses((status = 200, description = "What was removed", body = Discarded)),
    security(("admin_token" = [])),
)]
pub async fn discard_many(
    State(state): State<ApiState>,
    admin: Admin,
    Params(params): Params,
    body: Body,
) -> Result<Json<Discarded>> {
    params.finish()?;
    let mut fields = Fields::of_json(body.json()?)?;
    let filter = letter_filter(&mut fields);
    let Extent { limit, dry_run } = Extent::read(&mut fields);
    fields.finish()?;
    let groups = state.store.dead_letter_groups(&filter).await?;
    let there = groups.iter().map(|group| group.count).sum();
    let matched = limit.map_or(there, |limit| limit.min(there));
    if dry_run {
        return Ok(Json(Discarded { matched, discarded: 0 }));
    }
    let DeadLetterFilter { reason, code, kind } = &filter;
    let asked = json!({ "reason": reason, "code": code, "kind": kind, "limit": limit });
    let discarding = move |state: ApiState, progress: Progress| async move {
        let discarded = discard(&state, &filter, matched, &progress).await?;
        Ok(Json(Discarded { matched, discarded }))
    };
    admin.does(&state, Deed::new(AdminAction::DiscardLetters).asked(asked), discarding).await
}

/// Newest first, page by page: one that dies meanwhile is on no page that is yet to come.
async fn discard(state: &ApiState, filter: &DeadLetterFilter, matched: u64, progress: &Progress) -> Result<u64> {
    let (mut left, mut discarded, mut cursor) = (matched, 0, None::<String>);
    while left > 0 {
        progress.may_go_on()?;
        let size = TOGETHER.min(usize::try_from(left).unwrap_or(TOGETHER));
        let page = state.store.dead_letters(filter, cursor.as_deref(), size).await?;
        let removed = join_all(page.items.iter().map(|letter| state.store.discard(letter.job_id))).await;
        let count = removed.iter().filter(|removed| matches!(removed, Ok(true))).count() as u64;
        progress.add(count);
        discarded += count;
        left -= page.items.len() as u64;
        removed.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(discarded)
}
