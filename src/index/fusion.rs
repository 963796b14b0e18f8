//! Reciprocal rank fusion: makes one ranking of several whose scores can't be compared.
//!
//! Each list gives an item 1 / (k + rank); the sums rank the result (Cormack, Clarke and Büttcher, SIGIR 2009,
//! whose k = 60 is kept). Pure.

use std::{collections::HashMap, hash::Hash};

/// How little the first ranks stand out from the next.
const K: f32 = 60.0;

/// Fuses rankings, best first; of equal items the one that an earlier list names earlier comes first.
pub fn reciprocal_rank_fusion<T: Copy + Eq + Hash>(rankings: &[&[T]]) -> Vec<(T, f32)> {
    let mut place: HashMap<T, usize> = HashMap::new();
    let mut fused: Vec<(T, f32)> = Vec::new();
    for ranking in rankings {
        for (rank, item) in (1_u16..).zip(*ranking) {
            let at = *place.entry(*item).or_insert_with(|| {
                fused.push((*item, 0.0));
                fused.len() - 1
            });
            fused[at].1 += 1.0 / (K + f32::from(rank));
        }
    }
    // Stable: order of first appearance decides ties.
    fused.sort_by(|a, b| b.1.total_cmp(&a.1));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(rankings: &[&[char]]) -> String {
        reciprocal_rank_fusion(rankings).into_iter().map(|(item, _)| item).collect()
    }

    #[test]
    fn what_both_lists_name_comes_before_what_one_names() {
        assert_eq!(order(&[&['a', 'b', 'c'], &['x', 'c', 'y']]), "caxby");
    }

    #[test]
    fn one_list_keeps_its_order_and_no_list_gives_nothing() {
        assert_eq!(order(&[&['b', 'a'], &[]]), "ba");
        assert_eq!(order(&[]), "");
    }

    #[test]
    fn the_score_is_the_sum_of_reciprocal_ranks() {
        let fused = reciprocal_rank_fusion(&[&[7, 8][..], &[8][..]]);
        assert_eq!(fused[0].0, 8);
        assert!((fused[0].1 - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-6);
    }
}
