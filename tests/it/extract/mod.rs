//! Reading documents in the real child process: good ones come out whole, bad ones are refused by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod bad;
mod good;
mod make;

use std::{path::PathBuf, time::Duration};

use ragq::{
    domain::{
        document::Format,
        failure::{Code, Failure},
    },
    extract::{Extracted, Extractor},
};

/// Generous limits: the machine may be busy, and what is tested is never how fast it is.
fn extractor() -> Extractor {
    Extractor {
        program: PathBuf::from(env!("CARGO_BIN_EXE_ragq")),
        timeout: Duration::from_mins(2),
        memory_bytes: 1024 * 1024 * 1024,
        max_text_bytes: 64 * 1024 * 1024,
        chunk_chars: 400,
    }
}

async fn read(format: Format, bytes: impl Into<Vec<u8>>) -> Result<Extracted, Failure> {
    extractor().extract(format, bytes.into(), "upload").await
}

/// What a good document came out as, with its chunks checked against its text.
async fn good(format: Format, bytes: impl Into<Vec<u8>>) -> Extracted {
    let extracted = read(format, bytes).await.expect("a good document is read");
    assert!(!extracted.chunks.is_empty());
    for (ordinal, chunk) in extracted.chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal as usize, ordinal);
        assert_eq!(extracted.text[chunk.start..chunk.end], chunk.text);
    }
    extracted
}

async fn refused(format: Format, bytes: impl Into<Vec<u8>>) -> Code {
    let failure = read(format, bytes).await.expect_err("a bad document is refused");
    assert!(failure.message.contains(' '), "a reason in plain words: {}", failure.message);
    failure.code
}
