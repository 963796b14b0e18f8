//! The terms of a part of a document as they are stored: what the inverted lists are rebuilt from.
//!
//! Format, all numbers as LEB128 varints: count of chunks, then each chunk's length in words; count of terms,
//! then each term's length in bytes, bytes, count of chunks, and per chunk its distance from the last and how
//! often it stands there (a byte).

use std::collections::BTreeMap;

use crate::{domain::document::Chunk, index::words::Counter, text::analysis::Analyzer};

/// Writes the terms of chunks of one document.
#[derive(Debug)]
pub(super) struct Encoder {
    counter: Counter,
}

impl Encoder {
    /// For chunks of a document with this title.
    pub(super) fn new(analyzer: Analyzer, title: &str) -> Self {
        Self { counter: Counter::new(analyzer, title) }
    }

    /// The stored form of these chunks' terms.
    pub(super) fn encode<'c>(&mut self, chunks: impl IntoIterator<Item = &'c Chunk>) -> Vec<u8> {
        let mut lengths = Vec::new();
        let mut lists: BTreeMap<String, Vec<(u32, u8)>> = BTreeMap::new();
        for (number, chunk) in (0..).zip(chunks) {
            let (length, counts) = self.counter.count(chunk);
            lengths.push(length);
            for (stem, count) in counts {
                lists.entry(stem).or_default().push((number, count));
            }
        }
        write(&lengths, &lists)
    }
}

fn write(lengths: &[u64], lists: &BTreeMap<String, Vec<(u32, u8)>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, lengths.len() as u64);
    for length in lengths {
        put_varint(&mut bytes, *length);
    }
    put_varint(&mut bytes, lists.len() as u64);
    for (stem, entries) in lists {
        put_varint(&mut bytes, stem.len() as u64);
        bytes.extend_from_slice(stem.as_bytes());
        put_varint(&mut bytes, entries.len() as u64);
        let mut last = 0;
        for (number, count) in entries {
            put_varint(&mut bytes, u64::from(number - last));
            bytes.push(*count);
            last = *number;
        }
    }
    bytes
}

/// A part as read back.
pub(super) struct Part<'b> {
    /// Each chunk's length in words, title and headings included.
    pub(super) lengths: Vec<u32>,
    rest: &'b [u8],
}

impl<'b> Part<'b> {
    /// Reads what [`Encoder::encode`] wrote; none if the bytes are damaged.
    pub(super) fn decode(mut bytes: &'b [u8]) -> Option<Self> {
        let count = varint(&mut bytes)?;
        let lengths = (0..count).map(|_| varint(&mut bytes)).collect::<Option<_>>()?;
        Some(Self { lengths, rest: bytes })
    }

    /// The lengths' sum.
    pub(super) fn total_length(&self) -> u64 {
        self.lengths.iter().map(|length| u64::from(*length)).sum()
    }

    /// Calls `each` with every term and its chunks (number within the part, count), ascending.
    pub(super) fn each_term(&self, mut each: impl FnMut(&str, &[(u32, u8)])) -> Option<()> {
        let mut bytes = self.rest;
        let mut entries = Vec::new();
        for _ in 0..varint(&mut bytes)? {
            let length = varint(&mut bytes)? as usize;
            let (stem, after) = bytes.split_at_checked(length)?;
            bytes = after;
            entries.clear();
            let mut number = 0;
            for _ in 0..varint(&mut bytes)? {
                number += varint(&mut bytes)?;
                let (times, after) = bytes.split_first()?;
                bytes = after;
                entries.push((number, *times));
            }
            each(std::str::from_utf8(stem).ok()?, &entries);
        }
        Some(())
    }
}

/// Appends a number, seven bits a byte, lowest first.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes one number off the front.
#[inline]
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(ordinal: u32, text: &str, headings: &[&str]) -> Chunk {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        Chunk { ordinal, start: 0, end: text.len(), headings, text: text.to_owned() }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut encoder = Encoder::new(Analyzer::for_language("en"), "Leases");
        let chunks = [chunk(0, "a lease expires", &["Queue"]), chunk(1, "workers, workers", &["Queue"])];
        let bytes = encoder.encode(&chunks);
        let part = Part::decode(&bytes).unwrap();
        assert_eq!(part.lengths, [4, 4]);
        let mut seen = Vec::new();
        part.each_term(|stem, entries| seen.push((stem.to_owned(), entries.to_vec()))).unwrap();
        assert_eq!(
            seen,
            [
                ("expir".to_owned(), vec![(0, 1)]),
                ("leas".to_owned(), vec![(0, 2), (1, 1)]),
                ("queue".to_owned(), vec![(0, 1), (1, 1)]),
                ("worker".to_owned(), vec![(1, 2)]),
            ]
        );
    }

    #[test]
    fn damaged_bytes_are_noticed_not_believed() {
        let mut encoder = Encoder::new(Analyzer::for_language("en"), "");
        let bytes = encoder.encode(&[chunk(0, "one lease", &[])]);
        for length in 0..bytes.len() {
            let read = Part::decode(&bytes[..length]).and_then(|part| part.each_term(|_, _| {}));
            assert!(read.is_none(), "cut at {length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_survive(number in proptest::num::u32::ANY) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, u64::from(number));
            let mut rest = &bytes[..];
            proptest::prop_assert_eq!(varint(&mut rest), Some(number));
            proptest::prop_assert!(rest.is_empty());
        }
    }
}
