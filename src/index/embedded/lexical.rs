//! Inverted lists of one shelf in memory, scored by BM25 (k1 1.2, b 0.75, Lucene's idf).
//!
//! The formula and its numbers are the published ones and nothing is added to it: what was tried beside it (a bonus
//! for well-placed neighbours, damped repetitions in a question) won on one collection and lost on others, see
//! `docs/quality.md`.
//!
//! Every list of the question is walked from end to end, its scores added up in one array over all chunks. With
//! the stop words gone a question over 100,000 chunks touches some ten thousand entries, which takes less than
//! a millisecond: early termination (WAND, block-max) would add much code and win little.

use std::collections::HashMap;

use crate::index::question::Group;

use super::{
    forward::{Part, put_varint, varint},
    roster::{ChunkKey, Roster},
    top::Top,
};

const K1: f32 = 1.2;
const B: f32 = 0.75;
/// What a shelf knows of its words.
#[derive(Debug, Default)]
pub(super) struct Lexical {
    /// Building asks for millions of words: the hash of the standard library would take a quarter of the time.
    lists: HashMap<Box<str>, List, foldhash::fast::RandomState>,
    lengths: Vec<u32>,
    roster: Roster,
    total_length: u64,
    languages: HashMap<&'static str, u32>,
    list_bytes: usize,
}

#[derive(Debug, Default)]
struct List {
    /// Per chunk: distance from the one before, how often.
    bytes: Vec<u8>,
    last: u32,
    /// In how many chunks that can be found.
    live: u32,
}

/// What the shelves of one search have in common: the numbers that BM25 needs.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    chunks: u64,
    length: u64,
}

impl Lexical {
    /// Makes room for a document with so many chunks; it can be found once it is filled and revealed.
    pub(super) fn add(&mut self, document: i64, chunks: u32) {
        self.roster.add(document, chunks);
    }

    /// Adds the next part of the document added last; none if it is damaged.
    pub(super) fn fill(&mut self, language: &'static str, part: &Part<'_>) -> Option<()> {
        let base = self.lengths.len() as u32;
        self.lengths.extend_from_slice(&part.lengths);
        self.total_length += part.total_length();
        *self.languages.entry(language).or_default() += part.lengths.len() as u32;
        let mut list_bytes = 0;
        let read = part.each_term(|stem, entries| {
            let list = match self.lists.get_mut(stem) {
                Some(list) => list,
                None => self.lists.entry(stem.into()).or_default(),
            };
            let before = list.bytes.len();
            for (number, weight) in entries {
                put_varint(&mut list.bytes, u64::from(base + number - list.last));
                list.bytes.push(*weight);
                list.last = base + number;
            }
            list.live += entries.len() as u32;
            list_bytes += list.bytes.len() - before;
        });
        self.list_bytes += list_bytes;
        read
    }

    /// Lets the document added last be found.
    pub(super) fn reveal(&mut self) {
        // One number, one length, even if parts are missing.
        self.lengths.resize(self.roster.len(), 0);
        self.roster.reveal();
    }

    /// Passes over the document from now on; its parts are to be discounted then. False if it was not there.
    pub(super) fn remove(&mut self, document: i64) -> bool {
        self.roster.remove(document)
    }

    /// Takes a part of a removed document out of all counts.
    pub(super) fn discount(&mut self, language: &'static str, part: &Part<'_>) {
        if let Some(count) = self.languages.get_mut(language) {
            *count = count.saturating_sub(part.lengths.len() as u32);
        }
        self.total_length = self.total_length.saturating_sub(part.total_length());
        part.each_term(|stem, entries| {
            if let Some(list) = self.lists.get_mut(stem) {
                list.live = list.live.saturating_sub(entries.len() as u32);
            }
        });
    }

    /// Gives back memory that growing lists reserved.
    pub(super) fn shrink(&mut self) {
        self.lists.values_mut().for_each(|list| list.bytes.shrink_to_fit());
        self.lists.shrink_to_fit();
    }

    /// Adds this shelf's numbers.
    pub(super) fn count_into(&self, statistics: &mut Statistics, languages: &mut HashMap<&'static str, u32>) {
        statistics.chunks += u64::from(self.roster.live());
        statistics.length += self.total_length;
        for (language, chunks) in &self.languages {
            *languages.entry(language).or_default() += chunks;
        }
    }

    /// In how many chunks any of the group's stems stands, at most.
    pub(super) fn frequency(&self, group: &Group) -> u64 {
        let lists = group.stems.iter().filter_map(|stem| self.lists.get(stem.as_str()));
        lists.map(|list| u64::from(list.live)).sum()
    }

    /// Offers the chunks that hold any of the groups' stems, each group with its weight; `scores` is scratch.
    pub(super) fn search(
        &self,
        groups: &[(Group, f32)],
        statistics: &Statistics,
        scores: &mut Vec<f32>,
        top: &mut Top<ChunkKey>,
    ) {
        scores.clear();
        scores.resize(self.roster.len(), 0.0);
        let mean = statistics.length as f32 / (statistics.chunks as f32).max(1.0);
        let (flat, slope) = (K1 * (1.0 - B), K1 * B / mean.max(1.0));
        for (group, weight) in groups {
            for list in group.stems.iter().filter_map(|stem| self.lists.get(stem.as_str())) {
                let (mut bytes, mut chunk) = (&list.bytes[..], 0_usize);
                while let Some(distance) = varint(&mut bytes) {
                    let Some((raw, rest)) = bytes.split_first() else { break };
                    bytes = rest;
                    chunk += distance as usize;
                    let (Some(length), Some(score)) = (self.lengths.get(chunk), scores.get_mut(chunk)) else { break };
                    let frequency = f32::from(*raw);
                    *score += weight * frequency / (frequency + flat + slope * *length as f32);
                }
            }
        }
        for run in self.roster.runs() {
            let Some(scores) = scores.get(run.clone()) else { break };
            for (chunk, score) in run.zip(scores) {
                if *score > top.bar()
                    && let Some(key) = self.roster.key(chunk as u32)
                {
                    top.offer(*score, key);
                }
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
        self.list_bytes + self.lists.len() * 136 + self.lengths.len() * 8
    }
}

impl Statistics {
    /// Lucene's inverse document frequency, never negative.
    pub(super) fn rarity(&self, frequency: u64) -> f32 {
        let (all, with) = (self.chunks as f32, frequency.min(self.chunks) as f32);
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }
}
