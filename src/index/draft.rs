//! A document about to be stored: whether it is sound, and what tells it from another.

use crate::{
    domain::failure::{Code, Failure},
    index::IndexedDocument,
    text::analysis,
};

/// Chunks that one document can have: rows are numbered by it.
const MOST_CHUNKS: usize = 1 << 23;
/// Bytes of text that one document can have.
const MOST_TEXT: usize = 1 << 36;

/// Brings vectors to unit length and refuses what could not be given back as it came.
pub(super) fn check(document: &mut IndexedDocument) -> Result<(), Failure> {
    if document.chunks.len() > MOST_CHUNKS || document.text.len() > MOST_TEXT {
        return Err(Failure::new(Code::DocumentTooLarge, format!("a document has at most {MOST_CHUNKS} chunks")));
    }
    for (number, chunk) in document.chunks.iter().enumerate() {
        if chunk.ordinal as usize != number || document.text.get(chunk.start..chunk.end) != Some(&*chunk.text) {
            let message = format!("chunk {number} is not numbered by its place or its span is not its text");
            return Err(Failure::new(Code::Unknown, message));
        }
    }
    if document.vectors.is_empty() {
        document.embedding_model = None;
        return Ok(());
    }
    let mismatch = |message: String| Err(Failure::new(Code::IndexMismatch, message));
    if document.embedding_model.is_none() {
        return mismatch("the document has vectors but names no embedding model".into());
    }
    let (vectors, chunks) = (document.vectors.len(), document.chunks.len());
    if vectors != chunks {
        return mismatch(format!("the document has {vectors} vectors for {chunks} chunks"));
    }
    let dimensions = document.vectors[0].len();
    for (number, vector) in document.vectors.iter_mut().enumerate() {
        if vector.len() != dimensions || dimensions == 0 {
            let length = vector.len();
            return mismatch(format!("vector {number} has {length} dimensions, the first has {dimensions}"));
        }
        if vector.iter().any(|x| !x.is_finite()) {
            let message = format!("the embedding of chunk {number} holds what is no number");
            return Err(Failure::new(Code::ProviderGarbled, message));
        }
        if let Some(unit) = unit(vector) {
            *vector = unit;
        }
    }
    Ok(())
}

/// Hash of all that is stored of a document.
pub(super) fn digest(document: &IndexedDocument) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(&analysis::REVISION.to_le_bytes());
    field(document.collection.as_str().as_bytes());
    field(document.title.as_bytes());
    field(&[u8::from(document.source.is_some())]);
    field(document.source.as_deref().unwrap_or_default().as_bytes());
    field(document.text.as_bytes());
    field(document.embedding_model.as_deref().unwrap_or_default().as_bytes());
    for chunk in &document.chunks {
        field(&(chunk.start as u64).to_le_bytes());
        field(&(chunk.end as u64).to_le_bytes());
        field(&(chunk.headings.len() as u64).to_le_bytes());
        chunk.headings.iter().for_each(|heading| field(heading.as_bytes()));
    }
    for vector in &document.vectors {
        field(&vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    }
    hasher.finalize().into()
}

/// The vector with length one; none if it has no direction (all zero) or holds what is no number.
pub(super) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(|x| (f64::from(*x) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_vector_has_length_one_and_one_without_direction_is_none() {
        assert_eq!(unit(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
        assert_eq!(unit(&[0.0, 0.0]), None);
        assert_eq!(unit(&[f32::NAN, 1.0]), None);
    }
}
