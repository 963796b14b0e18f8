//! Vectors of documents that are not in the index yet.
//!
//! A document of many batches may be stopped anywhere: by the provider's limit or failure, by the index, by a timeout or
//! a lost lease. What was embedded by then is paid for: it is kept in this process's memory, by the text it is of, and
//! found again when the document comes back. A worker that gets it instead of this one embeds it itself; so each of `n`
//! workers pays for a chunk once at most.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes that are kept at most; the oldest vectors go first.
const MOST_BYTES: usize = 64 << 20;

/// A text, as its vector is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(blake3::Hash);

impl Key {
    /// The key of a text.
    pub(super) fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }
}

/// Vectors by their texts. All are of one model: that of the process.
#[derive(Debug, Default)]
pub(super) struct KeptVectors(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    vectors: HashMap<Key, Kept>,
    /// The same, oldest first.
    order: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    vector: Vec<f32>,
    number: u64,
}

impl Inner {
    fn remove(&mut self, key: Key) {
        if let Some(kept) = self.vectors.remove(&key) {
            self.order.remove(&kept.number);
            self.bytes -= bytes_of(&kept.vector);
        }
    }
}

impl KeptVectors {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vector of a text, if it is kept.
    pub(super) fn get(&self, key: Key) -> Option<Vec<f32>> {
        self.inner().vectors.get(&key).map(|kept| kept.vector.clone())
    }

    /// Keeps the vector of a text.
    pub(super) fn keep(&self, key: Key, vector: &[f32]) {
        let mut inner = self.inner();
        inner.remove(key);
        let number = inner.next;
        inner.next += 1;
        inner.bytes += bytes_of(vector);
        inner.vectors.insert(key, Kept { vector: vector.to_vec(), number });
        inner.order.insert(number, key);
        while inner.bytes > MOST_BYTES {
            let Some(oldest) = inner.order.first_entry().map(|entry| *entry.get()) else { return };
            inner.remove(oldest);
        }
    }

    /// Lets go of the vectors of these texts: they are in the index.
    pub(super) fn forget(&self, keys: &[Key]) {
        let mut inner = self.inner();
        for key in keys {
            inner.remove(*key);
        }
    }
}

/// What a vector takes up, with what it is found by.
const fn bytes_of(vector: &[f32]) -> usize {
    size_of_val(vector) + size_of::<(Key, Kept)>() + size_of::<(u64, Key)>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(kept: &KeptVectors, texts: &[&'static str]) -> Vec<&'static str> {
        texts.iter().copied().filter(|text| kept.get(Key::of(text)).is_some()).collect()
    }

    #[test]
    fn a_vector_is_found_by_its_text_until_it_is_let_go() {
        let kept = KeptVectors::default();
        kept.keep(Key::of("one"), &[1.0]);
        kept.keep(Key::of("two"), &[2.0]);
        assert_eq!(kept.get(Key::of("three")), None);
        assert_eq!(kept.get(Key::of("one")), Some(vec![1.0]));
        assert_eq!(kept.get(Key::of("one")), Some(vec![1.0]));
        kept.forget(&[Key::of("one"), Key::of("three")]);
        assert_eq!(there(&kept, &["one", "two"]), ["two"]);
        kept.forget(&[Key::of("two")]);
        assert_eq!(kept.inner().bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let kept = KeptVectors::default();
        let quarter = vec![0.0; MOST_BYTES / 4 / size_of::<f32>() - 100];
        for text in ["a", "b", "c", "d", "b", "e"] {
            kept.keep(Key::of(text), &quarter);
        }
        assert_eq!(there(&kept, &["a", "b", "c", "d", "e"]), ["b", "c", "d", "e"]);
        kept.keep(Key::of("f"), &quarter);
        assert_eq!(
            there(&kept, &["b", "c", "d", "e", "f"]),
            ["b", "d", "e", "f"],
            "kept again, `b` is younger than `c`"
        );
    }

    #[test]
    fn a_document_that_is_put_off_for_ever_takes_up_no_more_than_once() {
        let kept = KeptVectors::default();
        kept.keep(Key::of("of a document that never comes back"), &[0.0]);
        for _ in 0..100 {
            kept.keep(Key::of("of one"), &[1.0]);
            kept.keep(Key::of("that does"), &[2.0]);
        }
        let inner = kept.inner();
        assert_eq!((inner.vectors.len(), inner.order.len(), inner.bytes), (3, 3, 3 * bytes_of(&[0.0])));
    }
}
