//! Taking in a document: read, cut, embed, index; the registry makes it seen when the job finishes.
//!
//! The new version's chunks stand beside the old ones until the job's end names them in one step with the
//! registry; what is left over is swept afterwards. A crash anywhere leaves the old version seen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tracing::Instrument as _;

use super::{
    Halt,
    kept::{KeptVectors, Key},
};
use crate::{
    domain::{
        document::{Change, Chunk, DocumentCommit, DocumentRecord, DocumentVersion},
        failure::{Code, Failure},
        job::Delivery,
        spent::Spent,
    },
    extract::Extractor,
    index::{IndexedDocument, PassageIndex},
    model::{Bounds, Embedder},
    queue::{Deliveries, Documents, Finish},
    telemetry::{
        metrics::{IngestStage, Metrics},
        traces,
    },
};

/// How long a batch may wait for its turn: put off to another worker, the document would begin anew.
const PATIENCE: Duration = Duration::from_secs(90);

/// Takes in, replaces and deletes documents.
pub struct Ingest {
    store: Arc<dyn Deliveries>,
    documents: Arc<dyn Documents>,
    index: Arc<dyn PassageIndex>,
    embedder: Option<Arc<dyn Embedder>>,
    extractor: Extractor,
    batch: usize,
    metrics: Metrics,
    kept: KeptVectors,
}

impl Ingest {
    /// The use case over its ports; chunks are embedded `batch` at a time.
    pub fn new(
        store: Arc<dyn Deliveries>,
        documents: Arc<dyn Documents>,
        index: Arc<dyn PassageIndex>,
        embedder: Option<Arc<dyn Embedder>>,
        extractor: Extractor,
        batch: usize,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            documents,
            index,
            embedder,
            extractor,
            batch: batch.max(1),
            metrics,
            kept: KeptVectors::default(),
        }
    }

    /// Works on one delivery of an `ingest` job up to what it is to be finished with; `spent` counts what its calls cost.
    pub async fn run(&self, delivery: &Delivery, spent: &Spent) -> Result<Finish, Halt> {
        let document = delivery
            .document
            .as_ref()
            .ok_or_else(|| Failure::new(Code::UndecodablePayload, "the job carries no document"))?;
        let known = self.documents.document(&delivery.tenant, &document.document_id).await?;
        if known.as_ref().is_some_and(|known| known.applied_version >= document.version) {
            return Ok(finish(document, DocumentCommit::Superseded, json!({ "superseded": true })));
        }
        match document.change {
            Change::Delete => Ok(finish(document, DocumentCommit::Deleted, json!({ "deleted": true }))),
            Change::Put => match known.filter(|known| self.is_same(known, document)) {
                Some(known) => Ok(finish(
                    document,
                    DocumentCommit::Unchanged,
                    json!({ "unchanged": true, "chunks": known.chunks, "size_bytes": known.size_bytes }),
                )),
                None => self.put(delivery, document, spent).await,
            },
        }
    }

    async fn put(&self, delivery: &Delivery, document: &DocumentVersion, spent: &Spent) -> Result<Finish, Halt> {
        let bytes = self.store.upload(delivery.lease.job).await?.ok_or(Halt::LeaseLost)?;
        let extract = self.extractor.extract(document.format, bytes, &document.title);
        let extracted = self.stage(IngestStage::Extract, extract).await?;
        let keys: Vec<Key> = match self.embedder {
            Some(_) => extracted.chunks.iter().map(|chunk| Key::of(&embedded_text(chunk))).collect(),
            None => Vec::new(),
        };
        let vectors = self.stage(IngestStage::Embed, self.embed(&extracted.chunks, &keys, spent)).await?;
        let chunks = extracted.chunks.len() as u32;
        let text_bytes = extracted.text.len() as u64;
        let title = title(document, extracted.title.as_deref());
        let indexed = IndexedDocument {
            tenant: delivery.tenant.clone(),
            collection: document.collection.clone(),
            document_id: document.document_id.clone(),
            version: document.version,
            title: title.clone(),
            source: document.source.clone(),
            text: extracted.text,
            chunks: extracted.chunks,
            vectors,
            embedding_model: self.embedding_model(),
        };
        self.stage(IngestStage::Index, self.index.put(indexed)).await?;
        self.kept.forget(&keys);
        Ok(finish(
            document,
            DocumentCommit::Replaced { title: title.clone(), made_with: self.made_with(), chunks, text_bytes },
            json!({ "unchanged": false, "title": title, "chunks": chunks, "size_bytes": text_bytes }),
        ))
    }

    /// Runs a stage and notes how long it took.
    async fn stage<T>(&self, stage: IngestStage, run: impl Future<Output = T> + Send) -> T {
        let begun = Instant::now();
        let done = run.instrument(traces::stage(stage.as_str())).await;
        self.metrics.ingest_stage(stage, begun.elapsed());
        done
    }

    /// Whether what is seen of the document is already what was submitted, made as it would be made now.
    fn is_same(&self, known: &DocumentRecord, document: &DocumentVersion) -> bool {
        known.version.is_some()
            && known.content_hash.as_deref() == Some(document.content_hash.as_str())
            && known.made_with == self.made_with()
    }

    /// What chunks are made with now.
    fn made_with(&self) -> Option<String> {
        let analysis = self.index.analysis().map(|revision| format!("analysis {revision}"));
        let parts: Vec<String> = [self.embedding_model(), analysis].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn embedding_model(&self) -> Option<String> {
        self.embedder.as_ref().map(|embedder| embedder.model().to_owned())
    }

    /// One vector per chunk. The title and headings go in front: a chunk alone often does not say what it is about. Each
    /// batch is kept, by `keys`, the moment it is there: whatever happens before all are in the index, the next time
    /// finds it.
    async fn embed(&self, chunks: &[Chunk], keys: &[Key], spent: &Spent) -> Result<Vec<Vec<f32>>, Failure> {
        let Some(embedder) = &self.embedder else { return Ok(Vec::new()) };
        let bounds = Bounds { deadline: None, patience: PATIENCE, spent: spent.clone() };
        let mut vectors: Vec<_> = keys.iter().map(|key| self.kept.get(*key)).collect();
        let missing: Vec<usize> = (0..chunks.len()).filter(|number| vectors[*number].is_none()).collect();
        for batch in missing.chunks(self.batch) {
            let texts: Vec<String> = batch.iter().map(|number| embedded_text(&chunks[*number])).collect();
            for (number, vector) in batch.iter().zip(embedder.embed(&texts, &bounds).await?) {
                self.kept.keep(keys[*number], &vector);
                vectors[*number] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().collect())
    }
}

/// What of a chunk is embedded.
fn embedded_text(chunk: &Chunk) -> String {
    if chunk.headings.is_empty() {
        chunk.text.clone()
    } else {
        format!("{}\n\n{}", chunk.headings.join(" > "), chunk.text)
    }
}

/// The document's own title where the submitted one is only its file's name.
fn title(document: &DocumentVersion, own: Option<&str>) -> String {
    let is_file_name = document.source.as_deref().is_some_and(|source| source.ends_with(document.title.as_str()));
    match own {
        Some(own) if is_file_name || document.title.is_empty() => own.to_owned(),
        _ => document.title.clone(),
    }
}

fn finish(document: &DocumentVersion, commit: DocumentCommit, details: Value) -> Finish {
    let mut result = json!({ "document_id": document.document_id, "version": document.version });
    if let (Value::Object(result), Value::Object(details)) = (&mut result, details) {
        result.extend(details);
    }
    Finish::Completed { result, document: Some(commit), turn: None }
}
