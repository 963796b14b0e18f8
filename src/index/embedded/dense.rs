//! Vectors of one shelf in memory, one byte per dimension, for finding candidates by cosine.
//!
//! Exact scores come from the stored 32-bit vectors afterwards. A byte per dimension (instead of a bit) finds
//! the same nearest as an exact search, needs few candidates scored anew, and a walk over 100,000 vectors of
//! 384 dimensions (38 MB) takes a few milliseconds with the instructions every x86-64 has.

use super::{
    roster::{ChunkKey, Roster},
    top::Top,
};

/// Levels of a document vector's components: those of a signed byte.
const LEVELS: f32 = 127.0;
/// Levels of the question's: small enough that 16,000 dimensions can't overflow 32 bits.
const QUESTION_LEVELS: f32 = 1_000.0;

/// What a shelf knows of its vectors.
#[derive(Debug)]
pub(super) struct Dense {
    dimensions: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    roster: Roster,
}

impl Dense {
    /// For vectors with so many components.
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, codes: Vec::new(), scales: Vec::new(), roster: Roster::default() }
    }

    /// Whether there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.roster.live() == 0
    }

    /// Adds a document with its unit vectors, one per chunk, in order.
    pub(super) fn add<V: AsRef<[f32]>>(&mut self, document: i64, vectors: impl ExactSizeIterator<Item = V>) {
        self.roster.add(document, vectors.len() as u32);
        for vector in vectors {
            let vector = vector.as_ref();
            let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let factor = if largest > 0.0 { LEVELS / largest } else { 0.0 };
            let codes = vector.iter().map(|x| (x * factor).round() as i8);
            self.codes.extend(codes.chain(std::iter::repeat(0)).take(self.dimensions));
            self.scales.push(largest / LEVELS);
        }
        self.roster.reveal();
    }

    /// Passes over the document from now on.
    pub(super) fn remove(&mut self, document: i64) {
        self.roster.remove(document);
    }

    /// Offers the chunks nearest to the question's unit vector, with approximate cosines.
    pub(super) fn search(&self, question: &[f32], top: &mut Top<ChunkKey>) {
        let largest = question.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        if largest <= 0.0 || question.len() != self.dimensions {
            return;
        }
        let question_codes: Vec<i16> =
            question.iter().map(|x| (x * QUESTION_LEVELS / largest).round() as i16).collect();
        let unit = largest / QUESTION_LEVELS;
        for ((chunk, codes), scale) in (0..).zip(self.codes.chunks_exact(self.dimensions)).zip(&self.scales) {
            let score = dot(&question_codes, codes) as f32 * scale * unit;
            if score > top.bar()
                && let Some(key) = self.roster.key(chunk)
            {
                top.offer(score, key);
            }
        }
    }

    /// Whether the document can be found.
    pub(super) fn contains(&self, document: i64) -> bool {
        self.roster.contains(document)
    }

    /// Whether it should be built anew.
    pub(super) fn is_worn(&self) -> bool {
        self.roster.is_worn()
    }

    /// Roughly how many bytes of memory this takes.
    pub(super) fn memory(&self) -> usize {
        self.codes.capacity() + self.scales.capacity() * 8
    }
}

/// Written so that the compiler makes multiply-add instructions of it.
#[inline]
fn dot(a: &[i16], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// The cosine of two unit vectors, the second as stored.
pub(super) fn stored_cosine(question: &[f32], stored: &[u8]) -> f32 {
    question.iter().zip(stored.chunks_exact(4)).map(|(x, bytes)| x * read(bytes)).sum()
}

/// A vector as stored.
pub(super) fn to_stored(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A stored vector.
pub(super) fn from_stored(stored: &[u8]) -> Vec<f32> {
    stored.chunks_exact(4).map(read).collect()
}

fn read(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(0.0, f32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_a_removed_one_is_not() {
        let mut dense = Dense::new(3);
        let vectors = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]];
        dense.add(1, vectors.iter());
        dense.add(2, [[0.0_f32, 0.0, 1.0]].iter());
        let nearest = |dense: &Dense| {
            let mut top = Top::new(2, f32::MIN);
            dense.search(&[0.0, 1.0, 0.0], &mut top);
            top.into_sorted()
        };
        let found = nearest(&dense);
        assert_eq!(found[0].0, ChunkKey { document: 1, ordinal: 1 });
        assert!((found[0].1 - 0.8).abs() < 0.01);
        dense.remove(1);
        assert_eq!(nearest(&dense).len(), 1);
        assert!(!dense.is_empty());
    }

    #[test]
    fn a_vector_survives_being_stored() {
        let vector = vec![0.6, 0.8];
        assert_eq!(from_stored(&to_stored(&vector)), vector);
        assert!((stored_cosine(&vector, &to_stored(&vector)) - 1.0).abs() < 1e-6);
    }
}
