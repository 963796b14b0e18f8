//! A search: by words always, by vector if there is one, both fused by rank.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use crate::{
    domain::{
        answer::RetrievalMode,
        failure::{Code, Failure},
    },
    index::{
        Found, QuestionVector, SearchQuery, draft,
        fusion::reciprocal_rank_fusion,
        question::{self, Group},
    },
};

use super::{
    engine::{Engine, Reader},
    lexical::Statistics,
    read,
    roster::ChunkKey,
    shelf::Shelf,
    store,
    top::Top,
};

/// Words of a question that are looked for at most, the weightiest first: bounds what a long one costs.
const MOST_GROUPS: usize = 128;
/// The search structures of all shelves may take this much memory; beyond it the longest unused are dropped.
const MEMORY: usize = 1024 * 1024 * 1024;

type Ranking = Vec<(ChunkKey, f32)>;

impl Engine {
    /// Finds passages.
    pub(super) fn search(&self, query: &SearchQuery) -> Result<Found, Failure> {
        let shelves = self.scope(query);
        let result = self.read(|reader| {
            let nearest = match &query.vector {
                Some(vector) => Self::nearest(reader, &shelves, vector, query.limit)?,
                None => None,
            };
            let (ranking, mode) = match nearest {
                None => (Self::by_words(reader, &shelves, &query.text, query.limit)?, RetrievalMode::Lexical),
                Some(nearest) => {
                    let by_words = Self::by_words(reader, &shelves, &query.text, depth(query.limit))?;
                    let keys = |ranking: Ranking| ranking.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
                    let mut fused = reciprocal_rank_fusion(&[&keys(by_words), &keys(nearest)]);
                    fused.truncate(query.limit);
                    (fused, RetrievalMode::Hybrid)
                }
            };
            Ok(Found { passages: read::passages(&mut reader.connection, &ranking)?, mode })
        });
        self.trim(&shelves);
        result
    }

    /// The shelves to search, in a fixed order.
    fn scope(&self, query: &SearchQuery) -> Vec<Arc<Shelf>> {
        let known = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        let Some(of_tenant) = known.get(&query.tenant) else { return Vec::new() };
        let asked = |collection| query.collection.as_ref().is_none_or(|wanted| wanted == collection);
        let search = self.searches.fetch_add(1, Ordering::Relaxed);
        let shelves = of_tenant.iter().filter(|(collection, _)| asked(*collection)).map(|(_, shelf)| Arc::clone(shelf));
        shelves.inspect(|shelf| shelf.touch(search)).collect()
    }

    fn by_words(reader: &mut Reader, shelves: &[Arc<Shelf>], text: &str, limit: usize) -> Result<Ranking, Failure> {
        let Reader { connection, scores } = reader;
        let (mut statistics, mut languages) = (Statistics::default(), HashMap::new());
        for shelf in shelves {
            let build = || read::load_lexical(connection, shelf.number);
            shelf.lexical(build, |lexical| lexical.count_into(&mut statistics, &mut languages))?;
        }
        let groups = question::groups(text, &languages);
        let mut frequencies = vec![0; groups.len()];
        for shelf in shelves {
            let build = || read::load_lexical(connection, shelf.number);
            shelf.lexical(build, |lexical| {
                for (frequency, group) in frequencies.iter_mut().zip(&groups) {
                    *frequency += lexical.frequency(group);
                }
            })?;
        }
        let mut weighed: Vec<(Group, f32)> = groups
            .into_iter()
            .zip(frequencies)
            .filter(|(_, frequency)| *frequency > 0)
            .map(|(group, frequency)| {
                let weight = group.times * statistics.rarity(frequency);
                (group, weight)
            })
            .collect();
        weighed.sort_by(|a, b| b.1.total_cmp(&a.1));
        weighed.truncate(MOST_GROUPS);
        let mut top = Top::new(limit, 0.0);
        for shelf in shelves {
            let build = || read::load_lexical(connection, shelf.number);
            shelf.lexical(build, |lexical| lexical.search(&weighed, &statistics, scores, &mut top))?;
        }
        Ok(top.into_sorted())
    }

    /// The chunks nearest to the vector; none if the searched documents have no vectors.
    fn nearest(
        reader: &mut Reader,
        shelves: &[Arc<Shelf>],
        vector: &QuestionVector,
        limit: usize,
    ) -> Result<Option<Ranking>, Failure> {
        let Some((model, dimensions)) = store::embedding(&reader.connection)? else { return Ok(None) };
        let QuestionVector { model: asked, values } = vector;
        if (asked, values.len()) != (&model, dimensions) {
            let message = format!(
                "the index holds vectors of `{model}` with {dimensions} dimensions, the question's vector is of \
                 `{asked}` with {}: use the embedding model that the documents were taken in with",
                values.len()
            );
            return Err(Failure::new(Code::IndexMismatch, message));
        }
        let Some(question) = draft::unit(values) else { return Ok(None) };
        // Enough that the few places lost to rounding don't matter.
        let mut candidates = Top::new(depth(limit) * 2, f32::MIN);
        let mut any = false;
        for shelf in shelves {
            let connection = &mut reader.connection;
            let build = || read::load_dense(connection, shelf.number);
            shelf.dense(build, |dense| {
                any |= !dense.is_empty();
                dense.search(&question, &mut candidates);
            })?;
        }
        if !any {
            return Ok(None);
        }
        let candidates: Vec<ChunkKey> = candidates.into_sorted().into_iter().map(|(key, _)| key).collect();
        let mut exact = read::cosines(&reader.connection, &question, &candidates)?;
        exact.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        exact.truncate(depth(limit));
        Ok(Some(exact))
    }

    /// Drops the longest unused search structures of other shelves while all together take too much memory.
    fn trim(&self, in_use: &[Arc<Shelf>]) {
        let known = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        let mut total: usize = known.values().flat_map(|shelves| shelves.values()).map(|shelf| shelf.memory()).sum();
        if total <= MEMORY {
            return;
        }
        let others = known.values().flat_map(|shelves| shelves.values()).filter(|shelf| shelf.memory() > 0);
        let mut others: Vec<Arc<Shelf>> =
            others.filter(|shelf| in_use.iter().all(|used| used.number != shelf.number)).map(Arc::clone).collect();
        drop(known);
        others.sort_by_key(|shelf| shelf.used());
        for shelf in others {
            if total <= MEMORY {
                break;
            }
            total -= shelf.memory();
            shelf.forget();
        }
    }
}

/// How many of each ranking are fused for so many results.
fn depth(limit: usize) -> usize {
    limit.saturating_mul(4).max(64)
}
