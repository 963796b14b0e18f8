//! CPU time per search, recall of the vector search, memory: over made-up chunks.

use std::{error::Error, path::Path, time::Instant};

use ragq::{
    domain::document::Chunk,
    index::{Found, IndexedDocument, PassageIndex, QuestionVector, SearchQuery, embedded::EmbeddedIndex},
};
use rustix::time::{ClockId, clock_gettime};

use crate::made::{self, CHUNKS_PER_DOCUMENT, Language};

const QUESTIONS: u64 = 200;
const TENANT: &str = "speed";
const MODEL: &str = "made-up";

/// Fills an index file, then measures it in a process of its own.
pub async fn build(file: &Path, chunks: usize) -> Result<(), Box<dyn Error>> {
    let language = Language::new();
    let index = EmbeddedIndex::open(file)?;
    let (cpu, wall) = (cpu_ms(), Instant::now());
    let mut making = 0.0;
    for number in 0..(chunks / CHUNKS_PER_DOCUMENT) as u64 {
        let before = cpu_ms();
        let document = document(&language, number);
        making += cpu_ms() - before;
        index.put(document).await?;
    }
    let cpu = cpu_ms() - cpu - making;
    index.close().await?;
    let figures = serde_json::json!({
        "measure": "put", "chunks": chunks, "cpu_us_per_chunk": 1_000.0 * cpu / chunks as f64,
        "wall_s": wall.elapsed().as_secs_f64(), "file_bytes": file.metadata()?.len(),
    });
    println!("{figures}");
    let status = std::process::Command::new(std::env::current_exe()?).arg("--measure").arg(file).status()?;
    if status.success() { Ok(()) } else { Err("the measuring process failed".into()) }
}

fn document(language: &Language, number: u64) -> IndexedDocument {
    let numbers = number * CHUNKS_PER_DOCUMENT as u64..(number + 1) * CHUNKS_PER_DOCUMENT as u64;
    let mut text = String::new();
    let mut chunks = Vec::new();
    for (ordinal, chunk) in (0..).zip(numbers.clone()) {
        let start = text.len();
        text.push_str(&language.chunk(chunk));
        let (end, headings) = (text.len(), Vec::new());
        chunks.push(Chunk { ordinal, start, end, headings, text: text[start..end].to_owned() });
    }
    IndexedDocument {
        tenant: TENANT.into(),
        collection: "default".into(),
        document_id: number.to_string().into(),
        version: 1,
        title: format!("Document {number}"),
        source: None,
        text,
        chunks,
        vectors: numbers.map(made::vector).collect(),
        embedding_model: Some(MODEL.into()),
    }
}

/// Measures searches in a filled index file.
pub async fn measure(file: &Path, chunks: usize) -> Result<(), Box<dyn Error>> {
    let language = Language::new();
    let asked: Vec<u64> = (0..QUESTIONS).map(|n| n * 7_919 % chunks as u64).collect();
    let questions: Vec<(String, Vec<f32>)> =
        asked.iter().map(|chunk| (language.question(*chunk), made::question_vector(*chunk))).collect();
    drop(language);
    let base = memory_mib();
    let index = EmbeddedIndex::open(file)?;
    let mut last = base;
    for (mode, words, vectors) in [("lexical", true, false), ("dense", false, true), ("hybrid", true, true)] {
        let query = |(text, vector): &(String, Vec<f32>)| SearchQuery {
            tenant: TENANT.into(),
            collection: None,
            text: if words { text.clone() } else { String::new() },
            vector: vectors.then(|| QuestionVector { model: MODEL.into(), values: vector.clone() }),
            limit: 10,
        };
        let before = cpu_ms();
        index.search(query(&questions[0])).await?;
        let load = cpu_ms() - before;
        let before = cpu_ms();
        let mut found = Vec::new();
        for question in &questions {
            found.push(index.search(query(question)).await?);
        }
        let cpu = (cpu_ms() - before) / QUESTIONS as f64;
        let hits = asked.iter().zip(&found).filter(|(chunk, found)| found.passages.iter().any(|p| is(p, **chunk)));
        let hit_rate = hits.count() as f64 / QUESTIONS as f64;
        let recall = (mode == "dense").then(|| recall(&questions, &found, chunks));
        let memory = memory_mib();
        let figures = serde_json::json!({
            "measure": "search", "mode": mode, "chunks": chunks, "cpu_ms": cpu, "first_search_cpu_ms": load,
            "asked_chunk_found": hit_rate, "recall_at_10_of_exact": recall,
            "memory_mib": memory, "memory_added_mib": memory - last,
        });
        println!("{figures}");
        last = memory;
    }
    println!("{}", serde_json::json!({ "measure": "memory", "before_open_mib": base }));
    index.close().await?;
    Ok(())
}

fn is(passage: &ragq::domain::answer::Passage, chunk: u64) -> bool {
    number(passage) == chunk
}

fn number(passage: &ragq::domain::answer::Passage) -> u64 {
    let document: u64 = passage.document_id.as_str().parse().unwrap_or(u64::MAX / 100);
    document * CHUNKS_PER_DOCUMENT as u64 + u64::from(passage.chunk)
}

/// The share of the exact nearest ten that was found.
fn recall(questions: &[(String, Vec<f32>)], found: &[Found], chunks: usize) -> f64 {
    let mut exact: Vec<Vec<(f32, u64)>> = vec![Vec::new(); questions.len()];
    for chunk in 0..chunks as u64 {
        let vector = made::vector(chunk);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (nearest, (_, question)) in exact.iter_mut().zip(questions) {
            let score = question.iter().zip(&vector).map(|(x, y)| x * y).sum::<f32>() / length;
            if nearest.len() < 10 || nearest[9].0 < score {
                nearest.push((score, chunk));
                nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
                nearest.truncate(10);
            }
        }
    }
    let hits: usize = exact
        .iter()
        .zip(found)
        .map(|(exact, found)| {
            exact.iter().filter(|(_, chunk)| found.passages.iter().any(|passage| number(passage) == *chunk)).count()
        })
        .sum();
    hits as f64 / (10 * questions.len()) as f64
}

/// CPU time of all threads so far.
fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Resident memory.
fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
