//! How well and how fast the embedded index finds: one JSON object a line.
//!
//! `cargo bench --bench retrieval [-- FOLDER]`: FOLDER holds judged collections in the BEIR layout, one folder
//! each (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`); without it `RAGQ_EVAL`, else `../shared/eval`.
//! Speed is measured over `RAGQ_BENCH_CHUNKS` (100,000) made-up chunks, as CPU time of the whole process, which
//! repeats on a busy machine where wall time does not, in a process of its own, so that its memory is the index'.

// Settings of a measurement, not of ragq.
#![allow(clippy::disallowed_methods, missing_docs)]

mod judged;
mod made;
mod speed;

use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, file] = &arguments[..]
        && flag == "--measure"
    {
        return runtime.block_on(speed::measure(file.as_ref(), chunks()));
    }
    let folder = arguments.first().cloned().or_else(|| std::env::var("RAGQ_EVAL").ok());
    let folder = PathBuf::from(folder.unwrap_or_else(|| "../shared/eval".into()));
    let scratch = tempfile::tempdir()?;
    runtime.block_on(judged::all(&folder, scratch.path()))?;
    if chunks() > 0 {
        runtime.block_on(speed::build(&scratch.path().join("speed.db"), chunks()))?;
    }
    Ok(())
}

fn chunks() -> usize {
    std::env::var("RAGQ_BENCH_CHUNKS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}
