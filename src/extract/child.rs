//! The child's side: takes its limits upon itself, parses one document, answers, ends.

use std::{
    io::{self, Read},
    panic,
    process::ExitCode,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, nice, setrlimit};

use super::{
    blocks::{self, Draft},
    chunk, decode, docx, html, markdown, pdf,
    protocol::{self, Reply, Request},
    sniff,
};
use crate::domain::{
    document::Format,
    failure::{Code, Failure},
};

/// Stack of the parser: deep enough for honest nesting; what overflows it ends the child alone.
const STACK_BYTES: u64 = 32 * 1024 * 1024;

/// How far parsers stand back when processors are short.
const NICENESS: i32 = 5;

/// Address space beyond the memory limit: the program itself, and what the allocator reserves but never uses.
const PROGRAM_BYTES: u64 = 512 * 1024 * 1024;

/// How much longer than its parent the child waits before it gives up: it matters only if the parent is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// The body of the hidden subcommand: reads a request from standard input, answers on standard output.
pub fn child_main() -> ExitCode {
    // A panic's message may hold document text: nothing of it is written.
    panic::set_hook(Box::new(|_| {}));
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let request = protocol::read_request(&mut input)?;
    limit(&request)?;
    let (reply, text) = match read_all(&mut input).and_then(|bytes| parse_in_thread(request, bytes)) {
        Ok((title, text, chunks)) => (Reply::Read { title, text_bytes: text.len(), chunks }, text),
        Err(failure) => (Reply::Refused { code: failure.code, message: failure.message }, String::new()),
    };
    protocol::write_reply(&mut io::stdout().lock(), &reply, &text)
}

/// Lowers the limits of this process for good. `Data` counts what is really allocated; `As` is for kernels
/// that count only the heap there.
fn limit(request: &Request) -> io::Result<()> {
    // Questions go first: somebody waits for them. Where it is not allowed it is not needed to read.
    nice(NICENESS).ok();
    let seconds = request.timeout_ms.div_ceil(1_000).saturating_add(1);
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, 16, 16),
        (Resource::Cpu, seconds, seconds.saturating_add(1)),
        (Resource::Data, request.memory_bytes, request.memory_bytes),
        (Resource::As, address_space(request), address_space(request)),
    ] {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}

const fn address_space(request: &Request) -> u64 {
    request.memory_bytes.saturating_add(PROGRAM_BYTES)
}

fn read_all(input: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match input.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(out_of_memory()),
        Err(_) => Err(Failure::new(Code::ParserUnavailable, "the parser did not receive the whole document")),
    }
}

type Parsed = (Option<String>, String, Vec<protocol::Span>);

/// Parses in a thread with a stack of its own and stops waiting when nobody can want the answer any more.
fn parse_in_thread(request: Request, bytes: Vec<u8>) -> Result<Parsed, Failure> {
    let patience = Duration::from_millis(request.timeout_ms).saturating_add(ORPHAN_GRACE);
    let stack = STACK_BYTES.min(request.memory_bytes / 4);
    let (sender, receiver) = mpsc::sync_channel(1);
    let body = move || {
        // The receiver is gone only when the process ends anyway.
        sender.send(read(&request, bytes)).ok();
    };
    thread::Builder::new().stack_size(stack as usize).spawn(body).map_err(|_| out_of_memory())?;
    match receiver.recv_timeout(patience) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Failure::new(Code::ParserTimeout, "reading the document took too long")),
        Err(RecvTimeoutError::Disconnected) => Err(crashed()),
    }
}

fn read(request: &Request, bytes: Vec<u8>) -> Result<Parsed, Failure> {
    sniff::check(request.format, &bytes)?;
    let draft = draft(request, bytes)?;
    if draft.text.len() as u64 > request.max_text_bytes {
        return Err(text_too_large(request.max_text_bytes));
    }
    let chunks = chunk::split(&draft.text, &draft.blocks, request.chunk_chars);
    if chunks.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, no_text(request.format)));
    }
    let title = draft.title.and_then(|title| blocks::one_line(&title)).filter(|title| *title != request.title_hint);
    Ok((title, draft.text, chunks))
}

fn draft(request: &Request, bytes: Vec<u8>) -> Result<Draft, Failure> {
    match request.format {
        Format::Markdown => Ok(markdown::markdown(decode::text(&bytes, None))),
        Format::Text => Ok(markdown::plain(decode::text(&bytes, None))),
        Format::Html => Ok(html::draft(&decode::text(&bytes, decode::declared_in_html(&bytes)))),
        Format::Pdf => pdf::draft(bytes, request.max_text_bytes),
        Format::Docx => docx::draft(bytes, request.memory_bytes / 2),
    }
}

/// The failure of a text over the limit.
pub(super) fn text_too_large(max_text_bytes: u64) -> Failure {
    let message = format!("the text in the document is larger than {max_text_bytes} bytes");
    Failure::new(Code::DocumentTooLarge, message)
}

const fn no_text(format: Format) -> &'static str {
    match format {
        Format::Pdf => "the PDF holds no text that can be read; it may be a scan that needs text recognition first",
        Format::Markdown | Format::Text | Format::Html | Format::Docx => "the document holds no text",
    }
}

fn out_of_memory() -> Failure {
    Failure::new(Code::ParserMemory, "reading the document used more memory than allowed")
}

/// The failure of a parser that panicked.
pub(super) fn crashed() -> Failure {
    Failure::new(Code::ParserCrashed, "the parser crashed on the document")
}
