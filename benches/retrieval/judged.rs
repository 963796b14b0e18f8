//! Quality on judged collections: nDCG, recall and reciprocal rank of the first ten documents, lexical.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs,
    path::Path,
};

use ragq::{
    domain::document::Chunk,
    index::{IndexedDocument, PassageIndex, SearchQuery, embedded::EmbeddedIndex},
};
use serde::Deserialize;

const DEPTH: usize = 10;
/// As the chunker's default.
const CHUNK_CHARS: usize = 1_200;

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// Measures every collection under `folder`.
pub async fn all(folder: &Path, scratch: &Path) -> Result<(), Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(folder) else {
        eprintln!("no judged collections: {} is not there (name the folder, or set RAGQ_EVAL)", folder.display());
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.join("corpus.jsonl").is_file() {
            one(&path, &scratch.join("judged.db")).await?;
        }
    }
    Ok(())
}

async fn one(folder: &Path, file: &Path) -> Result<(), Box<dyn Error>> {
    let index = EmbeddedIndex::open(file)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut chunks = 0;
    for line in fs::read_to_string(folder.join("corpus.jsonl"))?.lines() {
        let document = document(&name, serde_json::from_str(line)?);
        chunks += document.chunks.len();
        index.put(document).await?;
    }
    let judgements = judgements(&fs::read_to_string(folder.join("qrels/test.tsv"))?)?;
    let (mut ndcg, mut recall, mut rank, mut asked) = (0.0, 0.0, 0.0, 0.0);
    for line in fs::read_to_string(folder.join("queries.jsonl"))?.lines() {
        let question: Record = serde_json::from_str(line)?;
        let Some(judged) = judgements.get(&question.id) else { continue };
        let query = SearchQuery {
            tenant: name.as_str().into(),
            collection: None,
            text: question.text,
            vector: None,
            limit: DEPTH * 10,
        };
        let mut seen = HashSet::new();
        let passages = index.search(query).await?.passages.into_iter();
        let documents = passages.map(|passage| passage.document_id.as_str().to_owned());
        let found: Vec<String> = documents.filter(|id| seen.insert(id.clone())).take(DEPTH).collect();
        let gains: Vec<f64> = found.iter().map(|id| judged.get(id).copied().unwrap_or(0.0)).collect();
        let mut ideal: Vec<f64> = judged.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        ndcg += gain(&gains) / gain(&ideal).max(f64::MIN_POSITIVE);
        recall += gains.iter().filter(|gain| **gain > 0.0).count() as f64 / judged.len() as f64;
        rank += gains.iter().position(|gain| *gain > 0.0).map_or(0.0, |at| 1.0 / (at + 1) as f64);
        asked += 1.0;
    }
    index.close().await?;
    let figures = serde_json::json!({
        "measure": "quality", "collection": name, "mode": "lexical", "questions": asked, "chunks": chunks,
        "ndcg_at_10": ndcg / asked, "recall_at_10": recall / asked, "mrr_at_10": rank / asked,
    });
    println!("{figures}");
    Ok(())
}

fn document(tenant: &str, record: Record) -> IndexedDocument {
    let splitter = text_splitter::TextSplitter::new(CHUNK_CHARS);
    let spans = splitter.chunk_indices(&record.text);
    let chunks = (0..).zip(spans).map(|(ordinal, (start, text))| Chunk {
        ordinal,
        start,
        end: start + text.len(),
        headings: Vec::new(),
        text: text.to_owned(),
    });
    IndexedDocument {
        tenant: tenant.into(),
        collection: "judged".into(),
        document_id: record.id.into(),
        version: 1,
        title: record.title,
        source: None,
        chunks: chunks.collect(),
        text: record.text,
        vectors: Vec::new(),
        embedding_model: None,
    }
}

/// Gains discounted by rank, as `trec_eval` does.
fn gain(gains: &[f64]) -> f64 {
    (2..).zip(gains.iter().take(DEPTH)).map(|(rank, gain)| gain / f64::from(rank).log2()).sum()
}

/// Per question its relevant documents with their grades.
fn judgements(tsv: &str) -> Result<HashMap<String, HashMap<String, f64>>, Box<dyn Error>> {
    let mut judgements: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in tsv.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [question, document, grade] = fields[..] else { return Err(format!("malformed judgement: {line}").into()) };
        let grade: f64 = grade.trim().parse()?;
        if grade > 0.0 {
            judgements.entry(question.to_owned()).or_default().insert(document.to_owned(), grade);
        }
    }
    Ok(judgements)
}
