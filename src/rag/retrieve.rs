//! From a question to its context: search, drop what is not seen, drop duplicates, pack under a budget.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use tracing::Instrument as _;

use crate::{
    config::settings,
    domain::{
        answer::{Context, Passage, Retrieval, RetrievalMode, Turn},
        failure::{Code, Failure},
        ids::{Collection, DocumentId, Tenant},
        spent::Spent,
    },
    index::{PassageIndex, QuestionVector, SearchQuery, fusion},
    model::{Bounds, Embedder},
    queue::Documents,
    telemetry::{
        metrics::{Metrics, RetrievalStage},
        traces,
    },
    text::tokens,
};

/// Finds the passages a question is answered from.
pub struct Retriever {
    index: Arc<dyn PassageIndex>,
    documents: Arc<dyn Documents>,
    embedder: Option<Arc<dyn Embedder>>,
    settings: settings::Retrieval,
    metrics: Metrics,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Whose documents.
    pub tenant: &'a Tenant,
    /// Only in this collection.
    pub collection: Option<&'a Collection>,
    /// The question.
    pub text: &'a str,
    /// Earlier turns, oldest first: a follow-up question ("and how long?") is searched with them too.
    pub turns: &'a [Turn],
    /// How many passages at most; none: the configured number.
    pub top_k: Option<usize>,
}

impl Retriever {
    /// A retriever over an index and the registry that says what is seen of it.
    pub fn new(
        index: Arc<dyn PassageIndex>,
        documents: Arc<dyn Documents>,
        embedder: Option<Arc<dyn Embedder>>,
        settings: settings::Retrieval,
        metrics: Metrics,
    ) -> Self {
        Self { index, documents, embedder, settings, metrics }
    }

    /// The context for a question. It may hold no passage at all. `spent` counts what calls to a provider cost.
    pub async fn retrieve(&self, question: &Question<'_>, spent: &Spent) -> Result<Context, Failure> {
        if let Some(collection) = question.collection {
            self.require(question.tenant, collection).await?;
        }
        let texts = search_texts(question);
        let (mut vectors, mut degraded) = self.embed(&texts, spent).await;
        let top_k = question.top_k.unwrap_or(self.settings.top_k);
        let mut rankings = Vec::with_capacity(texts.len());
        let mut mode = RetrievalMode::Lexical;
        for (number, text) in texts.into_iter().enumerate() {
            let vector = vectors.get(number).cloned();
            let found = match self.search(question, &text, vector, top_k).await {
                // The embedding model was changed: until the documents are taken in again, words must do.
                Err(failure) if failure.code == Code::IndexMismatch && !vectors.is_empty() => {
                    tracing::warn!(%failure, "searching by words alone");
                    vectors.clear();
                    degraded = true;
                    self.search(question, &text, None, top_k).await?
                }
                found => found?,
            };
            mode = if number == 0 { found.1 } else { mode };
            rankings.push(found.0);
        }
        let passages = if rankings.len() == 1 { rankings.swap_remove(0) } else { fuse(rankings) };
        let passages = pack(distinct(passages), top_k, self.settings.context_tokens);
        let retrieval = Retrieval { mode, degraded };
        self.metrics.retrieved(&retrieval);
        let context = Context { passages: passages.into(), retrieval };
        traces::retrieved(&context);
        Ok(context)
    }

    /// Runs a stage and notes how long it took.
    async fn stage<T>(&self, stage: RetrievalStage, run: impl Future<Output = T> + Send) -> T {
        let begun = Instant::now();
        let done = run.instrument(traces::stage(stage.as_str())).await;
        self.metrics.retrieval_stage(stage, begun.elapsed());
        done
    }

    async fn require(&self, tenant: &Tenant, collection: &Collection) -> Result<(), Failure> {
        let known = self.documents.collections(tenant).await?;
        if known.iter().any(|record| record.name == *collection) {
            return Ok(());
        }
        Err(Failure::new(Code::CollectionNotFound, format!("there is no collection `{collection}`")))
    }

    /// One vector per text; none if there is no embedding model or it fails, which the flag tells. It does not wait for
    /// its turn: words find passages too.
    async fn embed(&self, texts: &[String], spent: &Spent) -> (Vec<QuestionVector>, bool) {
        let Some(embedder) = &self.embedder else { return (Vec::new(), false) };
        let bounds = Bounds { spent: spent.clone(), ..Bounds::default() };
        match self.stage(RetrievalStage::Embed, embedder.embed(texts, &bounds)).await {
            Ok(vectors) => {
                let of_model = |values| QuestionVector { model: embedder.model().to_owned(), values };
                (vectors.into_iter().map(of_model).collect(), false)
            }
            Err(failure) => {
                tracing::warn!(code = %failure.code, "embedding a question failed, searching by words alone");
                (Vec::new(), true)
            }
        }
    }

    /// Searches for more than is wanted, since superseded versions and duplicates fall away; asks for
    /// still more if they left too little.
    async fn search(
        &self,
        question: &Question<'_>,
        text: &str,
        vector: Option<QuestionVector>,
        top_k: usize,
    ) -> Result<(Vec<Passage>, RetrievalMode), Failure> {
        let mut limit = top_k * 3 + 8;
        loop {
            let query = SearchQuery {
                tenant: question.tenant.clone(),
                collection: question.collection.cloned(),
                text: text.to_owned(),
                vector: vector.clone(),
                limit,
            };
            let found = self.stage(RetrievalStage::Search, self.index.search(query)).await?;
            let exhausted = found.passages.len() < limit;
            let seen = self.visible(question, found.passages).await?;
            if seen.len() >= top_k || exhausted || limit > 1_000 {
                return Ok((seen, found.mode));
            }
            limit *= 4;
        }
    }

    async fn visible(&self, question: &Question<'_>, passages: Vec<Passage>) -> Result<Vec<Passage>, Failure> {
        let ids: HashSet<DocumentId> = passages.iter().map(|passage| passage.document_id.clone()).collect();
        let ids: Vec<DocumentId> = ids.into_iter().collect();
        let visible = self.stage(RetrievalStage::Filter, self.documents.visible(question.tenant, &ids)).await?;
        let is_seen = |passage: &Passage| {
            visible.get(&passage.document_id).is_some_and(|(collection, version)| {
                *version == passage.version && question.collection.is_none_or(|wanted| wanted == collection)
            })
        };
        Ok(passages.into_iter().filter(is_seen).collect())
    }
}

/// What to search for: the question, and for a follow-up also the question with what was asked before.
fn search_texts(question: &Question<'_>) -> Vec<String> {
    let mut texts = vec![question.text.to_owned()];
    if !question.turns.is_empty() {
        let recent = question.turns.iter().rev().take(2).map(|turn| turn.question.as_str());
        let mut joined: Vec<&str> = recent.collect();
        joined.reverse();
        joined.push(question.text);
        texts.push(joined.join("\n"));
    }
    texts
}

/// Several rankings as one, by reciprocal rank.
fn fuse(rankings: Vec<Vec<Passage>>) -> Vec<Passage> {
    let mut places = HashMap::new();
    let mut passages: Vec<Passage> = Vec::new();
    let mut ranked: Vec<Vec<usize>> = Vec::new();
    for ranking in rankings {
        let place = |passage: Passage| {
            let key = (passage.document_id.clone(), passage.version, passage.chunk);
            *places.entry(key).or_insert_with(|| {
                passages.push(passage);
                passages.len() - 1
            })
        };
        ranked.push(ranking.into_iter().map(place).collect());
    }
    let ranked: Vec<&[usize]> = ranked.iter().map(Vec::as_slice).collect();
    let fused = fusion::reciprocal_rank_fusion(&ranked);
    fused.into_iter().map(|(place, score)| Passage { score, ..passages[place].clone() }).collect()
}

/// Without passages whose words already stand in a better one.
fn distinct(passages: Vec<Passage>) -> Vec<Passage> {
    let mut texts = HashSet::new();
    passages
        .into_iter()
        .filter(|passage| {
            let words = passage.text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            texts.insert(blake3::hash(words.as_bytes()))
        })
        .collect()
}

/// The first `top_k` passages that fit into `budget` tokens together; the best one always, clipped if need be.
fn pack(passages: Vec<Passage>, top_k: usize, budget: usize) -> Vec<Passage> {
    let mut left = budget;
    let mut packed = Vec::new();
    for mut passage in passages {
        if packed.len() == top_k {
            break;
        }
        let cost = tokens::estimate(&passage.text);
        if cost > left && packed.is_empty() {
            passage.text.truncate(tokens::clip(&passage.text, left).len());
            passage.end = passage.start + passage.text.len();
        } else if cost > left {
            continue;
        }
        left = left.saturating_sub(cost);
        packed.push(passage);
    }
    packed.shrink_to_fit();
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(document: &str, text: &str) -> Passage {
        Passage {
            document_id: document.into(),
            version: 1,
            title: document.to_owned(),
            source: None,
            collection: Collection::default(),
            chunk: 0,
            headings: Vec::new(),
            start: 0,
            end: text.len(),
            text: text.to_owned(),
            score: 1.0,
        }
    }

    #[test]
    fn the_same_words_are_shown_once() {
        let kept = distinct(vec![passage("a", "One  two\nthree"), passage("b", "one two three"), passage("c", "four")]);
        assert_eq!(kept.iter().map(|passage| passage.document_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_context_keeps_to_its_budget_and_is_never_empty() {
        let long = "word ".repeat(400);
        let packed = pack(vec![passage("a", &long), passage("b", "short")], 5, 100);
        assert_eq!(packed.len(), 1);
        assert_eq!(packed[0].end, packed[0].text.len());
        assert!(tokens::estimate(&packed[0].text) <= 100);
        let packed = pack(vec![passage("a", "short"), passage("b", &long), passage("c", "short too")], 5, 100);
        assert_eq!(packed.iter().map(|passage| passage.document_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }
}
