//! A document on its way into Qdrant: its points, made batch by batch, so that only one batch is in memory.

use std::sync::Arc;

use qdrant_client::qdrant::{NamedVectors, PointStruct, Value, Vector, Vectors};

use crate::{
    domain::{document::Chunk, failure::Failure},
    index::{IndexedDocument, draft, words::Counter},
    text::analysis::Analyzer,
};

use super::{
    point::{self, Name, Part, Payload},
    sparse,
};

/// Points sent at a time, at most.
const BATCH_POINTS: usize = 256;
/// Bytes sent at a time, about, at most; a single point may be larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a piece of text, at most.
const PIECE_BYTES: usize = 64 * 1024;

/// Hexadecimal digits of the hash of a version's content: 128 bits, as it is indexed for every point.
const CONTENT_DIGITS: usize = 32;

/// The name of the sparse vector.
pub(super) const WORDS: &str = "words";

/// A sound document with all that its points have in common.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) document: IndexedDocument,
    /// Hash of all that is stored of it.
    pub(super) content: String,
    analyzer: Analyzer,
    pieces: Vec<(usize, usize)>,
}

impl Draft {
    /// Checks the document and looks at it as a whole; takes a while for a long one.
    pub(super) fn new(mut document: IndexedDocument) -> Result<Self, Failure> {
        draft::check(&mut document)?;
        let mut content = blake3::Hash::from(draft::digest(&document)).to_hex().to_string();
        content.truncate(CONTENT_DIGITS);
        let analyzer = Analyzer::for_text(&document.text);
        let pieces = pieces(&document.text, PIECE_BYTES);
        Ok(Self { document, content, analyzer, pieces })
    }

    /// What its points are named by.
    pub(super) fn name(&self) -> Name<'_> {
        let IndexedDocument { tenant, document_id, version, .. } = &self.document;
        Name { tenant, id: document_id, version: *version }
    }

    /// The model and dimension of its vectors, if it has any.
    pub(super) fn embedding(&self) -> Option<(&str, usize)> {
        let model = self.document.embedding_model.as_deref()?;
        self.document.vectors.first().map(|vector| (model, vector.len()))
    }

    /// The point that says that all others are there.
    pub(super) fn seal(&self) -> PointStruct {
        let (point, _) = self.piece(0);
        point
    }

    fn piece(&self, number: usize) -> (PointStruct, usize) {
        let (start, end) = self.pieces.get(number).copied().unwrap_or_default();
        let text = self.document.text.get(start..end).unwrap_or_default();
        let mut payload = self.payload();
        payload.insert(point::PIECE.into(), (number as i64).into());
        payload.insert(point::TEXT.into(), text.into());
        if number == 0 {
            payload.insert(point::PIECES.into(), (self.pieces.len() as i64).into());
            payload.insert(point::LANGUAGE.into(), self.analyzer.language().into());
        }
        let id = self.name().point(Part::Piece(number as u32));
        // No vector at all, as opposed to an unnamed one.
        (PointStruct::new(id, NamedVectors::default(), payload), text.len())
    }

    fn chunk(&self, counter: &mut Counter, chunk: &Chunk, dense: Option<&str>) -> (PointStruct, usize) {
        let (length, counts) = counter.count(chunk);
        let words = sparse::of_chunk(counts, length);
        let vector = self.document.vectors.get(chunk.ordinal as usize);
        let bytes = chunk.text.len() + words.len() * 8 + vector.map_or(0, |vector| vector.len() * 4);
        let mut payload = self.payload();
        let headings: Vec<Value> = chunk.headings.iter().map(|heading| heading.as_str().into()).collect();
        let fields: [(&str, Value); 6] = [
            (point::TITLE, self.document.title.as_str().into()),
            (point::CHUNK, i64::from(chunk.ordinal).into()),
            (point::HEADINGS, headings.into()),
            (point::START, (chunk.start as i64).into()),
            (point::END, (chunk.end as i64).into()),
            (point::TEXT, chunk.text.as_str().into()),
        ];
        payload.extend(fields.map(|(key, value)| (key.to_owned(), value)));
        if let Some(source) = &self.document.source {
            payload.insert(point::SOURCE.into(), source.as_str().into());
        }
        let mut vectors = NamedVectors::default().add_vector(WORDS, Vector::from(words));
        if let (Some(name), Some(vector), Some(model)) = (dense, vector, &self.document.embedding_model) {
            vectors = vectors.add_vector(name, vector.clone());
            payload.insert(point::EMBEDDING_MODEL.into(), model.as_str().into());
        }
        (PointStruct::new(self.name().point(Part::Chunk(chunk.ordinal)), Vectors::from(vectors), payload), bytes)
    }

    /// What every point of the document says.
    fn payload(&self) -> Payload {
        let IndexedDocument { tenant, collection, document_id, version, .. } = &self.document;
        let fields: [(&str, Value); 5] = [
            (point::TENANT, tenant.as_str().into()),
            (point::COLLECTION, collection.as_str().into()),
            (point::DOCUMENT, document_id.as_str().into()),
            (point::VERSION, version.cast_signed().into()),
            (point::CONTENT, self.content.as_str().into()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The points of a document but the seal, batch by batch.
#[derive(Debug)]
pub(super) struct Batches {
    draft: Arc<Draft>,
    /// The name of the dense vector, if the document has vectors.
    dense: Option<String>,
    counter: Counter,
    next_chunk: usize,
    next_piece: usize,
    waiting: Option<(PointStruct, usize)>,
}

impl Batches {
    /// Of this document, its vectors under the name `dense`.
    pub(super) fn new(draft: Arc<Draft>, dense: Option<String>) -> Self {
        let counter = Counter::new(draft.analyzer, &draft.document.title);
        // Piece 0 is the seal.
        Self { draft, dense, counter, next_chunk: 0, next_piece: 1, waiting: None }
    }

    fn point(&mut self) -> Option<(PointStruct, usize)> {
        if let Some(chunk) = self.draft.document.chunks.get(self.next_chunk) {
            self.next_chunk += 1;
            return Some(self.draft.chunk(&mut self.counter, chunk, self.dense.as_deref()));
        }
        let number = self.next_piece;
        (number < self.draft.pieces.len()).then(|| {
            self.next_piece += 1;
            self.draft.piece(number)
        })
    }

    /// The next points to send; none are left if it is empty. Analyses text: some milliseconds.
    pub(super) fn next_batch(&mut self) -> Vec<PointStruct> {
        let (mut batch, mut size) = (Vec::new(), 0);
        while batch.len() < BATCH_POINTS {
            let Some((point, bytes)) = self.waiting.take().or_else(|| self.point()) else { break };
            if !batch.is_empty() && size + bytes > BATCH_BYTES {
                self.waiting = Some((point, bytes));
                break;
            }
            size += bytes;
            batch.push(point);
        }
        batch
    }
}

/// Where to cut a text into pieces of at most so many bytes, never inside a character; at least one piece.
fn pieces(text: &str, most: usize) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    loop {
        let end = text.floor_char_boundary(start + most);
        pieces.push((start, end));
        if end >= text.len() {
            return pieces;
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(chunks: usize, chunk_bytes: usize, dimensions: usize) -> Draft {
        let one = "x".repeat(chunk_bytes);
        let place = |n: usize| (n * chunk_bytes, (n + 1) * chunk_bytes);
        let chunk = |n: usize| {
            let (start, end) = place(n);
            Chunk { ordinal: n as u32, start, end, headings: Vec::new(), text: one.clone() }
        };
        Draft::new(IndexedDocument {
            tenant: "acme".into(),
            collection: "manuals".into(),
            document_id: "a".into(),
            version: 1,
            title: "Title".into(),
            source: None,
            text: one.repeat(chunks),
            chunks: (0..chunks).map(chunk).collect(),
            vectors: vec![vec![1.0; dimensions]; if dimensions > 0 { chunks } else { 0 }],
            embedding_model: (dimensions > 0).then(|| "m".into()),
        })
        .unwrap()
    }

    fn sizes(draft: Draft) -> Vec<usize> {
        let mut batches = Batches::new(Arc::new(draft), Some("dense".into()));
        let next = || Some(batches.next_batch().len()).filter(|size| *size > 0);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn batches_are_bounded_by_number_and_by_bytes() {
        assert_eq!(sizes(document(600, 10, 0)), [256, 256, 88]);
        // A vector of 16,000 dimensions takes 64 kB.
        let large = sizes(document(100, 10, 16_000));
        assert_eq!(large.iter().sum::<usize>(), 100);
        assert!(large.iter().all(|size| (30..=66).contains(size)), "{large:?}");
        assert!(sizes(document(0, 10, 0)).is_empty(), "the seal is sent by itself");
    }

    #[test]
    fn a_point_larger_than_a_batch_goes_alone() {
        let sizes = sizes(document(3, BATCH_BYTES + 1, 0));
        assert_eq!(sizes[..3], [1, 1, 1]);
    }

    #[test]
    fn text_is_cut_between_characters_and_is_whole_together() {
        for (text, most, count) in [("", 4, 1), ("abcd", 4, 1), ("abcde", 4, 2), ("ééé", 3, 3)] {
            let pieces = pieces(text, most);
            assert_eq!(pieces.len(), count, "{text}");
            let together: String = pieces.iter().map(|(start, end)| &text[*start..*end]).collect();
            assert_eq!(together, text);
        }
    }
}
