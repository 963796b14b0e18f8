//! Who is who in the search structures: chunks are numbered in the order they came, documents own runs of them.
//!
//! A removed document's chunks keep their numbers and are passed over, until the whole is rebuilt.

use std::{collections::HashMap, ops::Range};

/// A chunk as the tables know it: row of its document, number within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    /// Row of the document version.
    pub(super) document: i64,
    /// The chunk's number within it.
    pub(super) ordinal: u32,
}

#[derive(Debug)]
struct Entry {
    document: i64,
    first: u32,
    live: bool,
}

/// The chunks of one search structure.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: Vec<Entry>,
    by_document: HashMap<i64, u32>,
    owner: Vec<u32>,
    live: u32,
}

impl Roster {
    /// Adds a document with so many chunks, not to be found yet; gives the number of its first.
    pub(super) fn add(&mut self, document: i64, chunks: u32) -> u32 {
        let first = self.owner.len() as u32;
        let number = self.entries.len() as u32;
        self.entries.push(Entry { document, first, live: false });
        self.owner.resize(self.owner.len() + chunks as usize, number);
        first
    }

    /// Lets the document added last be found.
    pub(super) fn reveal(&mut self) {
        if let Some(entry) = self.entries.last_mut().filter(|entry| !entry.live) {
            entry.live = true;
            self.live += self.owner.len() as u32 - entry.first;
            self.by_document.insert(entry.document, self.entries.len() as u32 - 1);
        }
    }

    /// Passes over the document's chunks from now on; false if it was not there.
    pub(super) fn remove(&mut self, document: i64) -> bool {
        let Some(number) = self.by_document.remove(&document) else { return false };
        let end = self.entries.get(number as usize + 1).map_or(self.owner.len() as u32, |next| next.first);
        let entry = &mut self.entries[number as usize];
        entry.live = false;
        self.live -= end - entry.first;
        true
    }

    /// Whether the document can be found.
    pub(super) fn contains(&self, document: i64) -> bool {
        self.by_document.contains_key(&document)
    }

    /// The chunk behind a number, unless its document was removed.
    pub(super) fn key(&self, chunk: u32) -> Option<ChunkKey> {
        let entry = self.entries.get(*self.owner.get(chunk as usize)? as usize)?;
        entry.live.then(|| ChunkKey { document: entry.document, ordinal: chunk - entry.first })
    }

    /// The runs of chunk numbers of the documents that can be found.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.entries.iter().skip(1).map(|next| next.first as usize).chain([self.owner.len()]);
        let runs = self.entries.iter().zip(ends).filter(|(entry, _)| entry.live);
        runs.map(|(entry, end)| entry.first as usize..end)
    }

    /// How many chunks can be found.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// How many numbers are given out.
    pub(super) fn len(&self) -> usize {
        self.owner.len()
    }

    /// Whether so much was removed that building anew is worth its price.
    pub(super) fn is_worn(&self) -> bool {
        let dead = self.owner.len() as u32 - self.live;
        dead > self.live.max(4_096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_document_is_passed_over_and_the_others_keep_their_numbers() {
        let mut roster = Roster::default();
        assert_eq!(roster.add(10, 2), 0);
        assert_eq!(roster.key(1), None);
        roster.reveal();
        assert_eq!(roster.key(1), Some(ChunkKey { document: 10, ordinal: 1 }));
        assert_eq!(roster.add(20, 3), 2);
        roster.reveal();
        assert!(roster.remove(10));
        assert!(!roster.remove(10));
        assert_eq!(roster.key(1), None);
        assert_eq!(roster.key(4), Some(ChunkKey { document: 20, ordinal: 2 }));
        assert_eq!(roster.key(5), None);
        assert_eq!((roster.live(), roster.len()), (3, 5));
        assert!(roster.runs().eq(std::iter::once(2..5)));
    }
}
