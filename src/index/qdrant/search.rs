//! A search: one query of Qdrant, by words, or by words and vector fused by rank on the server.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    FacetCountsBuilder, Filter, PrefetchQueryBuilder, Query, QueryPoints, QueryPointsBuilder, RrfBuilder, ScoredPoint,
    facet_value, query,
};

use crate::{
    domain::{
        answer::{Passage, RetrievalMode},
        failure::{Code, Failure},
    },
    index::{Found, QuestionVector, SearchQuery, draft::unit, question},
    text::analysis::Analyzer,
};

use super::{
    QdrantIndex,
    collection::{Schema, vector_name},
    connection::Kind,
    draft::WORDS,
    point, sparse,
};

/// How little the first ranks stand out when rankings are fused: 60 for ranks from 1, as the embedded index has
/// it; Qdrant counts from 0.
const RRF_K: u32 = 61;
/// Languages asked for at most.
const LANGUAGES: u64 = 64;

/// The question's vector under the name of the vectors to compare it with.
type Dense = Option<(String, Vec<f32>)>;

impl QdrantIndex {
    pub(super) async fn find(&self, query: &SearchQuery) -> Result<Found, Failure> {
        let nothing = Found { passages: Vec::new(), mode: RetrievalMode::Lexical };
        let Some(schema) = self.collection.schema().await? else { return Ok(nothing) };
        let scope = point::scope(&query.tenant, query.collection.as_ref());
        let dense = match &query.vector {
            Some(vector) => self.comparable(&schema, vector, &scope).await?,
            None => None,
        };
        let words = sparse::of_question(&question::groups(&query.text, &self.languages(&scope).await?));
        if query.limit == 0 || (words.is_empty() && dense.is_none()) {
            return Ok(nothing);
        }
        let compared = dense.is_some();
        let request = self.request(words, dense, scope, query.limit);
        let hits = self
            .connection
            .call(Kind::Read, &request, |client, request| async move { client.query(request).await })
            .await?
            .result;
        let mode = if compared { mode(&hits) } else { RetrievalMode::Lexical };
        let mut passages =
            hits.into_iter().map(|hit| point::passage(hit.payload, hit.score)).collect::<Result<Vec<_>, _>>()?;
        passages.sort_by(best_first);
        passages.truncate(query.limit);
        Ok(Found { passages, mode })
    }

    /// The vector, if there are vectors to compare it with.
    async fn comparable(&self, schema: &Schema, vector: &QuestionVector, scope: &Filter) -> Result<Dense, Failure> {
        let QuestionVector { model, values } = vector;
        let Some(values) = unit(values) else { return Ok(None) };
        if schema.holds(model, values.len()) {
            return Ok(Some((vector_name(model), values)));
        }
        // Another process may have taken in the first vectors.
        let Some(schema) = self.collection.refresh().await? else { return Ok(None) };
        if schema.holds(model, values.len()) {
            return Ok(Some((vector_name(model), values)));
        }
        for (known, dimensions) in &schema.models {
            if self.collection.stores(known, scope.clone()).await? {
                let message = format!(
                    "the index holds vectors of `{known}` with {dimensions} dimensions, the question's vector is of \
                     `{model}` with {}: use the embedding model that the documents were taken in with",
                    values.len()
                );
                return Err(Failure::new(Code::IndexMismatch, message));
            }
        }
        Ok(None)
    }

    /// The languages of the documents to search, with how many there are of each.
    async fn languages(&self, scope: &Filter) -> Result<HashMap<&'static str, u32>, Failure> {
        let request = FacetCountsBuilder::new(self.connection.collection(), point::LANGUAGE)
            .filter(scope.clone())
            .limit(LANGUAGES)
            .build();
        let hits = self
            .connection
            .call(Kind::Read, &request, |client, request| async move { client.facet(request).await })
            .await?
            .hits;
        let named = hits.into_iter().filter_map(|hit| match hit.value?.variant? {
            facet_value::Variant::StringValue(code) => {
                Some((Analyzer::for_language(&code).language(), u32::try_from(hit.count).unwrap_or(u32::MAX)))
            }
            facet_value::Variant::IntegerValue(_) | facet_value::Variant::BoolValue(_) => None,
        });
        Ok(named.collect())
    }

    fn request(&self, words: Vec<(u32, f32)>, dense: Dense, scope: Filter, limit: usize) -> QueryPoints {
        let base = QueryPointsBuilder::new(self.connection.collection()).with_payload(true);
        let Some((name, vector)) = dense else {
            return base.query(words).using(WORDS).filter(scope).limit(limit as u64).build();
        };
        let depth = depth(limit);
        let mut rankings = Vec::new();
        if !words.is_empty() {
            let by_words = PrefetchQueryBuilder::default().query(words).using(WORDS).filter(scope.clone()).limit(depth);
            rankings.push(by_words.build());
        }
        let by_meaning = PrefetchQueryBuilder::default().query(vector).using(name).filter(scope).limit(depth);
        rankings.push(by_meaning.build());
        let fusion = Query { variant: Some(query::Variant::Rrf(RrfBuilder::with_k(RRF_K).build())) };
        // Two at least: see `mode`.
        base.prefetch(rankings).query(fusion).limit(limit.max(2) as u64).build()
    }
}

/// How many of each ranking are fused for so many results.
fn depth(limit: usize) -> u64 {
    limit.saturating_mul(4).max(64) as u64
}

/// The mode of a fusion: hybrid if vectors were found. The nearest chunk is among the first two of a fusion: only the first by words
/// can come before it, or chunks that both rankings name, which have vectors too.
fn mode(hits: &[ScoredPoint]) -> RetrievalMode {
    if hits.iter().any(|hit| hit.payload.contains_key(point::EMBEDDING_MODEL)) {
        RetrievalMode::Hybrid
    } else {
        RetrievalMode::Lexical
    }
}

/// By score; equals in the order of their documents, so that the same search gives the same order.
fn best_first(a: &Passage, b: &Passage) -> std::cmp::Ordering {
    let place = |passage: &Passage| (passage.document_id.clone(), passage.version, passage.chunk);
    b.score.total_cmp(&a.score).then_with(|| place(a).cmp(&place(b)))
}
