//! Words as sparse vectors, the way Qdrant's own BM25 makes them: a dimension per stem, in it the part of the
//! score that depends on the chunk alone. Qdrant multiplies by each stem's rarity at the time of the search
//! (the IDF modifier), so nothing stored grows old when documents come and go.
//!
//! Which stems a text has and how often each counts is [`words`](crate::index::words)' business.

use std::collections::BTreeMap;

use murmur3_32::Murmur3;

use crate::index::question::Group;

const K: f32 = 1.2;
const B: f32 = 0.75;
/// The length, in words that are no stop words, that counts as neither long nor short.
///
/// It goes into every stored value and can't follow the real mean, so it must not change. Chunks of the default size
/// have 86 to 118 such words (prose, manuals of programs), and about 0.6 times the mean ranks best.
const AVERAGE_LENGTH: f32 = 60.0;
/// Stems of a question that are looked for at most: bounds what a long one costs.
const MOST_STEMS: usize = 256;

/// The dimension of a stem: its hash, as Qdrant's own BM25 takes it.
fn dimension(stem: &str) -> u32 {
    Murmur3::hash(0, stem.as_bytes()).cast_signed().unsigned_abs()
}

/// A chunk's vector, given how often each stem counts in it and how many words it has.
pub(super) fn of_chunk<S: AsRef<str>>(counts: impl IntoIterator<Item = (S, u8)>, length: u64) -> Vec<(u32, f32)> {
    let flat = K * (1.0 - B + B * length as f32 / AVERAGE_LENGTH);
    summed(counts.into_iter().map(|(stem, count)| {
        let count = f32::from(count);
        (dimension(stem.as_ref()), count * (K + 1.0) / (count + flat))
    }))
}

/// A question's vector: a word weighs as often as it is said, as in the embedded index.
pub(super) fn of_question(groups: &[Group]) -> Vec<(u32, f32)> {
    let stems = groups.iter().flat_map(|group| group.stems.iter().map(|stem| (dimension(stem), group.times)));
    summed(stems.take(MOST_STEMS))
}

/// Each dimension once: two stems may share a hash.
fn summed(entries: impl Iterator<Item = (u32, f32)>) -> Vec<(u32, f32)> {
    let mut vector: BTreeMap<u32, f32> = BTreeMap::new();
    for (dimension, value) in entries {
        *vector.entry(dimension).or_default() += value;
    }
    vector.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_has_the_dimension_that_qdrant_gives_it() {
        // From the reference implementation of MurmurHash3 (x86, 32 bits, seed 0), as absolute value.
        for (stem, hash) in [("", 0), ("hello", 0x248b_fa47), ("test", 0xba6b_d213_u32.cast_signed().unsigned_abs())] {
            assert_eq!(dimension(stem), hash, "{stem}");
        }
    }

    #[test]
    fn a_word_counts_more_if_it_is_there_more_often_and_less_in_a_long_chunk() {
        let value = |count, length| of_chunk([("lamp", count)], length)[0].1;
        assert!((value(1, 60) - 1.0).abs() < 1e-6, "once in a chunk of average length is one");
        assert!(value(2, 60) > value(1, 60) && value(2, 60) < 2.0);
        assert!(value(1, 120) < value(1, 60) && value(1, 10) > value(1, 60));
    }

    #[test]
    fn a_question_has_each_stem_once_and_no_more_than_are_looked_for() {
        let group = |stem: &str, times| Group { stems: vec![stem.into()], times };
        assert_eq!(of_question(&[group("lamp", 4.0)]), [(dimension("lamp"), 4.0)]);
        assert_eq!(of_question(&[group("lamp", 1.0), group("lamp", 1.0)]), [(dimension("lamp"), 2.0)]);
        let many: Vec<Group> = (0..1_000).map(|n| group(&n.to_string(), 1.0)).collect();
        assert_eq!(of_question(&many).len(), MOST_STEMS);
        assert!(of_question(&[]).is_empty());
    }
}
