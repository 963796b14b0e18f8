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
const CHUNK_CHARS: usize = 2_000;

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
    /// Records in a row that name the same are passages of one document, judged each by itself.
    document: Option<String>,
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
    let corpus = fs::read_to_string(folder.join("corpus.jsonl"))?;
    let records = corpus.lines().map(serde_json::from_str).collect::<Result<Vec<Record>, _>>()?;
    let mut chunks = 0;
    let mut owners: HashMap<String, Vec<&str>> = HashMap::new();
    for records in records.chunk_by(|a, b| a.document.is_some() && a.document == b.document) {
        let (document, ids) = document(&name, records);
        chunks += ids.len();
        owners.insert(document.document_id.as_str().to_owned(), ids);
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
        let ids = passages.map(|passage| owners[passage.document_id.as_str()][passage.chunk as usize]);
        let found = ids.filter(|id| seen.insert(*id)).take(DEPTH);
        let gains: Vec<f64> = found.map(|id| judged.get(id).copied().unwrap_or(0.0)).collect();
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

/// One document of these records, and of each of its chunks the record it is from.
fn document<'r>(tenant: &str, records: &'r [Record]) -> (IndexedDocument, Vec<&'r str>) {
    let splitter = text_splitter::TextSplitter::new(CHUNK_CHARS);
    let (mut text, mut chunks, mut ids) = (String::new(), Vec::new(), Vec::new());
    for record in records {
        // Some have nothing but a title.
        let own = if record.text.trim().is_empty() { &record.title } else { &record.text };
        for (offset, piece) in splitter.chunk_indices(own) {
            let (start, ordinal) = (text.len() + offset, chunks.len() as u32);
            let (end, headings) = (start + piece.len(), Vec::new());
            chunks.push(Chunk { ordinal, start, end, headings, text: piece.to_owned() });
            ids.push(record.id.as_str());
        }
        text.push_str(own);
        text.push_str("\n\n");
    }
    let document = IndexedDocument {
        tenant: tenant.into(),
        collection: "judged".into(),
        document_id: records[0].id.clone().into(),
        version: 1,
        title: records[0].title.clone(),
        source: None,
        chunks,
        text,
        vectors: Vec::new(),
        embedding_model: None,
    };
    (document, ids)
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
