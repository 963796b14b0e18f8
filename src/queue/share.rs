//! How waiting jobs share what there is: whose turn it is among priorities, and when a full queue may have room.

use std::time::Duration;

use crate::domain::job::Priority;

/// Priorities are taken in this proportion when all wait.
pub const WEIGHTS: [i64; 3] = [8, 4, 1];

/// Positions further back than this are left out.
pub const POSITION_SHOWN: u64 = 10_000;

/// The longest that callers of a full queue are asked to wait.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// When a queue that is full may have room again: the time in which a hundredth of it drains, 1 to 60 s.
pub fn retry_after(drained_per_second: f64, max_jobs: u64) -> Duration {
    let seconds = (max_jobs as f64 / 100.0).max(1.0) / drained_per_second;
    let longest = LONGEST_RETRY_AFTER.as_secs();
    Duration::from_secs(if seconds.is_finite() { seconds.ceil().clamp(1.0, longest as f64) as u64 } else { longest })
}

/// How many jobs are taken before one that has `own` before it in its list: those, and of the other lists as many
/// as come up meanwhile by their shares. `waiting` counts a list. None: far back.
pub fn position(own: u64, priority: Priority, waiting: impl Fn(Priority) -> u64) -> Option<u64> {
    let mut position = own;
    for other in Priority::ALL.iter().filter(|other| **other != priority) {
        let share = (own + 1) * weight(*other) / weight(priority);
        position += waiting(*other).min(share);
    }
    (position <= POSITION_SHOWN).then_some(position)
}

/// A priority's share.
pub const fn weight(priority: Priority) -> u64 {
    WEIGHTS[priority as usize] as u64
}
