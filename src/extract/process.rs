//! The parent's side: runs the child within its time, bounds what it may say, and judges how it ended.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{
    Extracted, Extractor, SUBCOMMAND,
    child::crashed,
    protocol::{self, Reply, Request, Span},
};
use crate::domain::{
    document::Chunk,
    failure::{Code, Failure},
};

/// What the child may say beyond the text: titles, headings and spans.
const MAX_SPANS_BYTES: u64 = 64 * 1024 * 1024;

/// What is kept of the child's standard error: enough to see why the runtime ended it. Never logged.
const MAX_STDERR_BYTES: u64 = 4 * 1024;

/// Longest message taken over from the child.
const MAX_MESSAGE_CHARS: usize = 300;

/// How the child ended and what it said.
#[derive(Debug)]
pub(super) struct Outcome {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs the child on one document. When the future is dropped the child is killed.
pub(super) async fn run(extractor: &Extractor, request: &Request, bytes: Vec<u8>) -> Result<Outcome, Failure> {
    let line =
        protocol::line(request).map_err(|error| unavailable("the parser could not be asked").with_source(error))?;
    let mut child =
        spawn(extractor).map_err(|error| unavailable("the parser process could not be started").with_source(error))?;
    let max_stdout = extractor.max_text_bytes.saturating_add(MAX_SPANS_BYTES);
    let talk = tokio::time::timeout(extractor.timeout, converse(&mut child, line, bytes, max_stdout));
    match talk.await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => {
            end(&mut child).await;
            Err(unavailable("the connection to the parser process was lost").with_source(error))
        }
        Err(_) => {
            end(&mut child).await;
            Err(timed_out())
        }
    }
}

/// Nothing is inherited but the three pipes; in its own process group, because a Ctrl-C in the terminal
/// must drain the worker, not kill its parsers.
fn spawn(extractor: &Extractor) -> io::Result<Child> {
    Command::new(&extractor.program)
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn converse(child: &mut Child, line: Vec<u8>, bytes: Vec<u8>, max_stdout: u64) -> io::Result<Outcome> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let write = async move {
        // A child that refuses early closes the pipe: what it said counts, not that we could not go on.
        if stdin.write_all(&line).await.is_ok() {
            stdin.write_all(&bytes).await.ok();
        }
    };
    let ((), stdout, stderr) = tokio::join!(write, bounded(stdout, max_stdout), bounded(stderr, MAX_STDERR_BYTES));
    let (stdout, stderr) = (stdout?, stderr?);
    Ok(Outcome { status: child.wait().await?, stdout, stderr })
}

/// Reads up to the limit and then closes the pipe: whoever says more is ended by it.
async fn bounded(pipe: impl AsyncRead + Unpin, limit: u64) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    pipe.take(limit).read_to_end(&mut said).await?;
    Ok(said)
}

async fn end(child: &mut Child) {
    // It may have ended by itself meanwhile, and what can't be reaped now is reaped by the runtime later.
    child.kill().await.ok();
}

/// Turns an outcome into what was read, or into why it was not.
pub(super) fn judge(outcome: Outcome, max_text_bytes: u64) -> Result<Extracted, Failure> {
    let Outcome { status, mut stdout, stderr } = outcome;
    if let Some(signal) = status.signal() {
        return Err(ended_by(signal, &stderr));
    }
    match protocol::parse(&stdout) {
        Some((Reply::Read { title, text_bytes, chunks }, at)) if status.success() => {
            let text = String::from_utf8(stdout.split_off(at)).map_err(|_| crashed())?;
            if text.len() != text_bytes || text.len() as u64 > max_text_bytes {
                return Err(crashed());
            }
            let chunks = cut(&text, chunks).ok_or_else(crashed)?;
            Ok(Extracted { title, text, chunks })
        }
        Some((Reply::Refused { code, message }, _)) if status.success() && may_say(code) => {
            Err(Failure::new(code, message.chars().take(MAX_MESSAGE_CHARS).collect::<String>()))
        }
        _ => Err(crashed()),
    }
}

/// The chunks with their text; none if a span does not fit the text.
fn cut(text: &str, spans: Vec<Span>) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(spans.len());
    for (ordinal, Span { start, end, headings }) in spans.into_iter().enumerate() {
        let piece = text.get(start..end).filter(|piece| !piece.is_empty())?;
        chunks.push(Chunk { ordinal: u32::try_from(ordinal).ok()?, start, end, headings, text: piece.to_owned() });
    }
    (!chunks.is_empty()).then_some(chunks)
}

/// A child that has been taken over by its document can say only what a document may be refused for.
const fn may_say(code: Code) -> bool {
    matches!(
        code,
        Code::DocumentMislabelled
            | Code::DocumentEmpty
            | Code::DocumentEncrypted
            | Code::DocumentDamaged
            | Code::DocumentTooLarge
            | Code::ParserTimeout
            | Code::ParserMemory
            | Code::ParserCrashed
            | Code::ParserUnavailable
    )
}

/// Why a signal ended the child. Rust's runtime aborts on a failed allocation and on a stack overflow alike;
/// what it wrote first tells them apart.
fn ended_by(signal: i32, stderr: &[u8]) -> Failure {
    let wrote = |words: &str| stderr.windows(words.len()).any(|window| window == words.as_bytes());
    match Signal::from_named_raw(signal) {
        Some(Signal::XCPU) => timed_out(),
        Some(Signal::ABORT) if wrote("memory allocation of ") => {
            Failure::new(Code::ParserMemory, "reading the document used more memory than allowed")
        }
        Some(Signal::ABORT) if wrote("has overflowed its stack") => {
            Failure::new(Code::ParserCrashed, "the document is nested too deeply for its parser")
        }
        // None of the parser's doing: the machine is short of memory, or somebody stops the whole service.
        Some(Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT) => {
            unavailable("the parser process was stopped from outside")
        }
        _ => crashed(),
    }
}

fn timed_out() -> Failure {
    Failure::new(Code::ParserTimeout, "reading the document took longer than allowed")
}

/// A failure that has nothing to do with the document.
pub(super) fn unavailable(message: &str) -> Failure {
    Failure::new(Code::ParserUnavailable, message)
}
