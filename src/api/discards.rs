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
        clock::Timestamp,
        failure::Code,
        job::{DeadReason, Kind},
        replay::Selection,
    },
    queue::{DeadCursor, DeadLetterFilter},
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
    /// Only those that had died by this instant, which an earlier answer said: a dry run and what follows it then mean
    /// the same letters. If not said, the present one.
    #[schema(nullable, value_type = Option<String>, format = DateTime)]
    dead_by: Option<Timestamp>,
    /// Only say how many match; not together with `dead_by`.
    #[schema(nullable)]
    dry_run: Option<bool>,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Discarded {
    /// Dead letters that match, within the limit.
    pub matched: u64,
    /// Those of them that were removed; others were replayed or removed meanwhile.
    pub discarded: u64,
    /// Letters that died later were not among them.
    pub dead_by: Timestamp,
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
    let dead_by = fields.instant("dead_by");
    if dry_run && dead_by.is_some() {
        fields.fail("dead_by", "is what a dry run says, not what it is told");
    }
    fields.finish()?;
    let DeadLetterFilter { reason, code, kind } = filter.clone();
    let (there, now) = state.store.count_letters(&Selection { reason, code, kind, ids: None }).await?;
    if dry_run {
        let matched = limit.map_or(there, |limit| limit.min(there));
        return Ok(Json(Discarded { matched, discarded: 0, dead_by: now }));
    }
    let dead_by = dead_by.unwrap_or(now);
    let asked = json!({ "reason": reason, "code": code, "kind": kind, "limit": limit, "dead_by": dead_by });
    let discarding = move |state: ApiState, progress: Progress| async move {
        let (matched, discarded) = discard(&state, &filter, dead_by, limit.unwrap_or(there), &progress).await?;
        Ok(Json(Discarded { matched, discarded, dead_by }))
    };
    admin.does(&state, Deed::new(AdminAction::DiscardLetters).asked(asked), discarding).await
}

/// Newest first, page by page, of those that had died by then: how many there were, and how many of them it removed.
async fn discard(
    state: &ApiState,
    filter: &DeadLetterFilter,
    dead_by: Timestamp,
    limit: u64,
    progress: &Progress,
) -> Result<(u64, u64)> {
    let (mut matched, mut discarded) = (0, 0);
    let mut cursor = Some(DeadCursor::from(dead_by).to_string());
    while cursor.is_some() && matched < limit {
        progress.may_go_on()?;
        let size = TOGETHER.min(usize::try_from(limit - matched).unwrap_or(TOGETHER));
        let page = state.store.dead_letters(filter, cursor.as_deref(), size).await?;
        let removed = join_all(page.items.iter().map(|letter| state.store.discard(letter.job_id))).await;
        let count = removed.iter().filter(|removed| matches!(removed, Ok(true))).count() as u64;
        progress.add(count);
        discarded += count;
        matched += page.items.len() as u64;
        removed.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        cursor = page.next_cursor;
    }
    Ok((matched, discarded))
}
