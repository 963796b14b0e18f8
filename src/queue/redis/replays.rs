//! What jobs of kind `replay` need: counting letters, putting them back in steps.

use async_trait::async_trait;
use redis::Cmd;

use super::{RedisJobStore, link::Confirm, scripts};
use crate::{
    domain::{
        clock::Timestamp,
        failure::Code,
        ids::Lease,
        job::{DeadReason, Kind},
        replay::{ReplayOrder, ReplayTally, Selection},
    },
    queue::{Fenced, ReplayStep, Replays, Result},
};

/// Letters put back, and letters looked at, by one script call at most: it must stay short.
const TOGETHER: usize = 50;

/// How many were put back, just now, ended, failed again, failed again with one code; whether none is left; what was
/// changed.
type StepAnswer = (u64, u64, u64, u64, u64, bool, Vec<String>);

#[async_trait]
impl Replays for RedisJobStore {
    async fn count_letters(&self, selection: &Selection) -> Result<(u64, Timestamp)> {
        let (count, now): (u64, i64) = self
            .shared
            .call(&scripts::COUNT_LETTERS, Confirm::No, |command| push_selection(command, selection))
            .await?;
        Ok((count, Timestamp(now)))
    }

    async fn replay_letters(
        &self,
        lease: &Lease,
        order: &ReplayOrder,
        step: ReplayStep,
    ) -> Result<Fenced<ReplayTally>> {
        let answer: Option<StepAnswer> = self
            .shared
            .call(&scripts::REPLAY_LETTERS, Confirm::Durable, |command| {
                command.arg(lease.job.to_string()).arg(lease.worker.as_str()).arg(lease.delivery);
                command.arg(TOGETHER).arg(step.max.min(TOGETHER)).arg(order.matched).arg(order.dead_by.0);
                command.arg(step.tell);
                push_selection(command, &order.selection);
            })
            .await?;
        let Some((replayed, just_replayed, ended, failed_again, same_code, exhausted, changed)) = answer else {
            return Ok(Fenced::Stale);
        };
        self.shared.changed(&changed);
        let matched = order.matched;
        let tally = ReplayTally { matched, replayed, just_replayed, ended, failed_again, same_code, exhausted };
        Ok(Fenced::Applied(tally))
    }
}

/// A selection as `take_selection` of `lua/ending.lua` reads it.
fn push_selection(command: &mut Cmd, selection: &Selection) {
    command
        .arg(selection.reason.map_or("", DeadReason::as_str))
        .arg(selection.code.map_or("", Code::as_str))
        .arg(selection.kind.map_or("", Kind::as_str));
    let ids = selection.ids.as_deref().unwrap_or_default();
    command.arg(ids.len());
    for id in ids {
        command.arg(id.to_string());
    }
}
