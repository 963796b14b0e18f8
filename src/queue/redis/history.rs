//! The history: told by each process, read by the API.

use std::{collections::HashMap, error::Error, time::Duration};

use super::{Shared, error::CallError, link::Confirm, scripts};
use crate::{
    domain::clock::{Clock as _, SystemClock, Timestamp},
    queue::history::{Counts, INTERVAL, StoredInterval, Told},
};

/// Intervals read by one script call.
const TOGETHER: u64 = 60;

/// What this process counts, and when it told last.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) counts: Counts,
    told: Told,
}

/// Tells what was counted, if it is time to. A failure is no more than a gap in a chart until the next time.
pub(super) async fn tell_if_due(shared: &Shared) {
    let now = shared.options.clock.as_ref().map_or_else(|| SystemClock.now(), |clock| clock.now());
    if shared.history.told.is_due(now)
        && let Err(error) = tell(shared).await
    {
        tracing::warn!(error = &error as &dyn Error, "the history could not be written");
    }
}

/// Tells what was counted. What could not be told is told the next time.
pub(super) async fn tell(shared: &Shared) -> Result<(), CallError> {
    let counts = shared.history.counts.take();
    let told = shared.call::<()>(&scripts::RECORD, Confirm::No, |command| {
        for (name, count) in &counts {
            command.arg(name).arg(count);
        }
    });
    told.await.inspect_err(|_| shared.history.counts.give_back(&counts))
}

/// The intervals of the last minutes.
pub(super) async fn read(shared: &Shared, minutes: u64) -> Result<Vec<StoredInterval>, CallError> {
    let mut left = Duration::from_mins(minutes).as_secs() / INTERVAL.as_secs();
    let mut intervals = Vec::new();
    while left > 0 {
        let count = left.min(TOGETHER);
        left -= count;
        let first = left + count - 1;
        let found: Vec<(i64, HashMap<String, u64>)> = shared
            .call(&scripts::HISTORY, Confirm::No, |command| {
                command.arg(first).arg(count);
            })
            .await?;
        intervals.extend(found.into_iter().map(|(at, numbers)| StoredInterval { at: Timestamp(at), numbers }));
    }
    // One may have been read at both ends of two calls between which an interval began.
    intervals.dedup_by_key(|interval| interval.at);
    Ok(intervals)
}
