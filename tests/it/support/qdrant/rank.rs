//! Ranking as Qdrant does it: cosine, sparse products with inverse document frequency, reciprocal rank fusion.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{Filter, PrefetchQuery, Query, QueryPoints, query::Variant, vector_input};
use tonic::Status;

use super::{
    filter::Sieve,
    store::{Collection, Point, invalid, sparse_vector, unit},
};

/// Ids with scores, best first.
type Ranking = Vec<(String, f32)>;

impl Collection {
    pub fn rank(&self, request: &QueryPoints) -> Result<Ranking, Status> {
        let QueryPoints { prefetch, query, using, filter, limit, .. } = request;
        self.ranked(prefetch, query.as_ref(), using.as_deref(), filter.clone(), limit.unwrap_or(10))
    }

    fn ranked(
        &self,
        prefetch: &[PrefetchQuery],
        query: Option<&Query>,
        using: Option<&str>,
        filter: Option<Filter>,
        limit: u64,
    ) -> Result<Ranking, Status> {
        let sieve = Sieve::new(filter, self)?;
        let mut ranking = match query.and_then(|query| query.variant.as_ref()) {
            Some(Variant::Rrf(rrf)) => {
                let rankings = prefetch.iter().map(|one| {
                    let PrefetchQuery { prefetch, query, using, filter, limit, .. } = one;
                    self.ranked(prefetch, query.as_ref(), using.as_deref(), filter.clone(), limit.unwrap_or(10))
                });
                fused(&rankings.collect::<Result<Vec<_>, _>>()?, rrf.k.unwrap_or(2))
            }
            Some(Variant::Nearest(input)) => {
                let using = using.unwrap_or_default();
                let through = || self.points.iter().filter(|(_, point)| sieve.lets_through(point));
                match &input.variant {
                    Some(vector_input::Variant::Dense(dense)) => {
                        self.check_dense(using, dense.data.len())?;
                        let question = unit(dense.data.clone());
                        let near = |point: &Point| Some(dot(point.dense.get(using)?, &question));
                        through().filter_map(|(id, point)| Some((id.clone(), near(point)?))).collect()
                    }
                    Some(vector_input::Variant::Sparse(sparse)) => {
                        self.check_sparse(using)?;
                        let question = self.weighed(using, sparse_vector(&sparse.indices, &sparse.values)?);
                        let near = |point: &Point| shared(point.sparse.get(using)?, &question);
                        through().filter_map(|(id, point)| Some((id.clone(), near(point)?))).collect()
                    }
                    other => return Err(invalid(&format!("{other:?} is not known here"))),
                }
            }
            other => return Err(invalid(&format!("{other:?} is not known here"))),
        };
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranking.truncate(limit as usize);
        Ok(ranking)
    }

    /// The question's values times the rarity of each dimension in the whole collection.
    fn weighed(&self, using: &str, question: BTreeMap<u32, f32>) -> BTreeMap<u32, f32> {
        let vectors: Vec<&BTreeMap<u32, f32>> =
            self.points.values().filter_map(|point| point.sparse.get(using)).collect();
        let all = vectors.len() as f32;
        let rarity = |dimension: u32| {
            let with = vectors.iter().filter(|vector| vector.contains_key(&dimension)).count() as f32;
            ((all - with + 0.5) / (with + 0.5) + 1.0).ln()
        };
        question.into_iter().map(|(dimension, value)| (dimension, value * rarity(dimension))).collect()
    }
}

fn fused(rankings: &[Ranking], k: u32) -> Ranking {
    let mut scores: HashMap<&str, f32> = HashMap::new();
    for ranking in rankings {
        for (place, (id, _)) in ranking.iter().enumerate() {
            *scores.entry(id).or_default() += 1.0 / (place as f32 + k as f32);
        }
    }
    // In the order of ids before they are sorted by score: Qdrant promises none among equals.
    let mut fused: Ranking = scores.into_iter().map(|(id, score)| (id.to_owned(), score)).collect();
    fused.sort_by(|a, b| a.0.cmp(&b.0));
    fused
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The product over the dimensions that both have; none if they share none.
fn shared(a: &BTreeMap<u32, f32>, b: &BTreeMap<u32, f32>) -> Option<f32> {
    let products: Vec<f32> = b.iter().filter_map(|(dimension, value)| Some(value * a.get(dimension)?)).collect();
    (!products.is_empty()).then(|| products.iter().sum())
}
