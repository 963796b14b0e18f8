//! The best so many of all that is offered.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Collects the best `limit` items; of equal scores the lesser item wins, so that results don't depend on order.
#[derive(Debug)]
pub(super) struct Top<T> {
    limit: usize,
    heap: BinaryHeap<Reverse<(Score, Reverse<T>)>>,
    bar: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Score(f32);

impl Eq for Score {}
impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord + Copy> Top<T> {
    /// Of scores above `bar`, the best `limit`.
    pub(super) fn new(limit: usize, bar: f32) -> Self {
        Self {
            limit,
            heap: BinaryHeap::with_capacity(limit.min(1_024) + 1),
            bar: if limit == 0 { f32::MAX } else { bar },
        }
    }

    /// A score not above this has no chance.
    #[inline]
    pub(super) fn bar(&self) -> f32 {
        self.bar
    }

    /// Takes the item if it is among the best so far.
    pub(super) fn offer(&mut self, score: f32, item: T) {
        if self.limit == 0 {
            return;
        }
        self.heap.push(Reverse((Score(score), Reverse(item))));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
        if self.heap.len() == self.limit
            && let Some(Reverse((Score(worst), _))) = self.heap.peek()
        {
            // One step below: an equal score may still win by its item.
            self.bar = self.bar.max(worst.next_down());
        }
    }

    /// The best, best first.
    pub(super) fn into_sorted(self) -> Vec<(T, f32)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse((Score(score), Reverse(item)))| (item, score)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_what_sorting_everything_gives(scores in proptest::collection::vec(0_u8..20, 0..60), limit in 0_usize..8) {
            let mut all: Vec<(u32, f32)> = (0..).zip(scores.iter().map(|score| f32::from(*score))).collect();
            let mut top = Top::new(limit, -1.0);
            for (item, score) in all.iter().rev() {
                if *score > top.bar() {
                    top.offer(*score, *item);
                }
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(limit);
            proptest::prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
