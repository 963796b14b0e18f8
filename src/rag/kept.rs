//! Vectors of documents that were put off before they were whole.
//!
//! A document of many batches may meet the provider's limit, or its failure, in the middle. What was embedded by then
//! is paid for: it is kept in this process's memory, by the text it is of, and found again when the document comes back.
//! A worker that gets it instead of this one embeds it itself; so each of `n` workers pays for a chunk once at most.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes of vectors that are kept at most; the oldest go first.
const MOST_BYTES: usize = 64 << 20;

type Key = blake3::Hash;

/// Vectors by their texts. All are of one model: that of the process.
#[derive(Debug, Default)]
pub(super) struct KeptVectors(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    vectors: HashMap<Key, Vec<f32>>,
    /// Oldest first; those that were taken meanwhile are no longer in `vectors`.
    order: VecDeque<Key>,
    bytes: usize,
}

impl KeptVectors {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the vector of a text.
    pub(super) fn take(&self, text: &str) -> Option<Vec<f32>> {
        let mut inner = self.inner();
        if inner.vectors.is_empty() {
            return None;
        }
        let vector = inner.vectors.remove(&blake3::hash(text.as_bytes()))?;
        inner.bytes -= bytes_of(&vector);
        if inner.vectors.is_empty() {
            inner.order.clear();
        }
        Some(vector)
    }

    /// Keeps the vector of a text.
    pub(super) fn keep(&self, text: &str, vector: Vec<f32>) {
        let key = blake3::hash(text.as_bytes());
        let mut inner = self.inner();
        inner.bytes += bytes_of(&vector);
        match inner.vectors.insert(key, vector) {
            Some(same) => inner.bytes -= bytes_of(&same),
            None => inner.order.push_back(key),
        }
        while inner.bytes > MOST_BYTES {
            let Some(oldest) = inner.order.pop_front() else { return };
            if let Some(vector) = inner.vectors.remove(&oldest) {
                inner.bytes -= bytes_of(&vector);
            }
        }
    }
}

const fn bytes_of(vector: &[f32]) -> usize {
    size_of_val(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_found_once_by_its_text() {
        let kept = KeptVectors::default();
        kept.keep("one", vec![1.0]);
        kept.keep("two", vec![2.0]);
        assert_eq!(kept.take("three"), None);
        assert_eq!(kept.take("one"), Some(vec![1.0]));
        assert_eq!(kept.take("one"), None);
        assert_eq!(kept.take("two"), Some(vec![2.0]));
        assert_eq!(kept.inner().bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let kept = KeptVectors::default();
        let quarter = MOST_BYTES / 4 / size_of::<f32>();
        for text in ["a", "b", "c", "d", "b", "e"] {
            kept.keep(text, vec![0.0; quarter]);
        }
        let there: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|text| kept.take(text).is_some()).collect();
        assert_eq!(there, ["b", "c", "d", "e"]);
        assert_eq!(kept.inner().bytes, 0);
    }
}
