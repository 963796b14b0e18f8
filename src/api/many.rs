//! Orders over many jobs at once: how far they reach.

use super::fields::Fields;

/// The highest limit: more than a queue holds.
const MAX_LIMIT: u64 = 1_000_000_000;

/// How far such an order reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// No more jobs than so many.
    pub limit: Option<u64>,
    /// Only say how many there are.
    pub dry_run: bool,
}

impl Extent {
    /// Reads `limit` and `dry_run`.
    pub fn read(fields: &mut Fields) -> Self {
        Self { limit: fields.integer("limit", 1..=MAX_LIMIT), dry_run: fields.flag("dry_run").unwrap_or(false) }
    }
}
