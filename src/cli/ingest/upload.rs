//! Sends files in batches: a few requests at a time, each well below the API's body limit.
//!
//! Sending a batch again does no harm: a document whose content is there already is unchanged.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream::FuturesUnordered};
use http::StatusCode;
use reqwest::multipart::{Form, Part};
use tokio::time::{Instant, sleep};

use super::{FileFailure, IngestOptions, PATIENCE, Pending, Progress, walk::File};
use crate::cli::client::{
    Client, ClientError,
    patience::Patience,
    wire::{Uploaded, UploadedFile},
};

/// Batches under way at a time.
const AT_A_TIME: usize = 2;
/// Most files in a batch.
const FILES: usize = 64;
/// Most bytes in a batch of several files.
const BYTES: u64 = 4 * 1024 * 1024;
/// A larger file goes straight from the disk to the wire.
const STREAMED: u64 = BYTES;
/// Wait before files are sent again that the API had no room for while it took others of their batch.
const NO_ROOM: Duration = Duration::from_secs(2);
/// Codes of files that may be taken later.
const PASSING: [&str; 4] = ["queue_full", "rate_limited", "store_unavailable", "draining"];

/// What came of sending.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) failures: Vec<FileFailure>,
    pub(super) unsent: usize,
    pub(super) error: Option<ClientError>,
}

/// Sends all files; the jobs of those accepted go to `accepted`.
pub(super) async fn run(
    client: &Client,
    files: Vec<File>,
    options: &IngestOptions,
    progress: &Progress,
    accepted: UnboundedSender<Pending>,
) -> Sent {
    let mut sent = Sent::default();
    let mut total = files.len();
    let mut batches = batches(files);
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < AT_A_TIME
            && let Some(batch) = batches.next()
        {
            under_way.push(send(client, batch, options, progress));
        }
        let Some(outcome) = under_way.next().await else { break };
        match outcome {
            Ok(outcome) => {
                total -= outcome.accepted.len() + outcome.failures.len();
                progress.sent(outcome.accepted.len());
                progress.refused(outcome.failures.len());
                sent.failures.extend(outcome.failures);
                for pending in outcome.accepted {
                    // The other side listens until this one is dropped.
                    drop(accepted.unbounded_send(pending));
                }
            }
            Err(error) => {
                // What goes for this batch goes for the rest: the API is away or does not know us.
                sent.error = Some(error);
                break;
            }
        }
    }
    sent.unsent = total;
    progress.refused(total);
    sent
}

/// Cuts the files into batches, in order.
fn batches(files: Vec<File>) -> impl Iterator<Item = Vec<File>> {
    let mut files = files.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![files.next()?];
        let mut bytes = batch[0].size;
        while batch.len() < FILES
            && let Some(next) = files.next_if(|next| bytes + next.size <= BYTES)
        {
            bytes += next.size;
            batch.push(next);
        }
        Some(batch)
    })
}

#[derive(Default)]
struct Outcome {
    accepted: Vec<Pending>,
    failures: Vec<FileFailure>,
}

/// A file with what is to be sent of it.
struct Loaded {
    file: File,
    content: Content,
}

enum Content {
    /// In memory: the same for every try.
    Bytes(Bytes),
    /// Too large for that: read while it is sent.
    OnDisk,
}

/// Sends one batch until the API has taken or refused each of its files.
async fn send(
    client: &Client,
    batch: Vec<File>,
    options: &IngestOptions,
    progress: &Progress,
) -> Result<Outcome, ClientError> {
    let mut outcome = Outcome::default();
    let mut left = vec![load(batch, &mut outcome).await];
    let mut last_taken = Instant::now();
    while let Some(mut batch) = left.pop() {
        if batch.is_empty() {
            continue;
        }
        let tell = |why: &str, wait: Duration| progress.waiting(why, wait);
        let patience = Patience::new(PATIENCE, &tell).outlasting_restarts(progress.accepted() > 0);
        let answer = submit(client, &batch, options, patience).await;
        match answer {
            Ok(uploaded) => {
                let (size, again) = (batch.len(), outcome.sort(batch, uploaded));
                if again.len() < size {
                    last_taken = Instant::now();
                } else if last_taken.elapsed() > PATIENCE {
                    outcome.refuse(again, "the API has had no room for it for too long", None);
                    continue;
                }
                if !again.is_empty() {
                    progress.waiting("the API has no room for some of the files", NO_ROOM);
                    sleep(NO_ROOM).await;
                }
                left.push(again);
            }
            Err(ClientError::Refused(problem)) if problem.is_about_this_one() || is_too_much(problem.status) => {
                if batch.len() > 1 {
                    // Limits are the API's own, and it may be one file that it minds.
                    let rest = batch.split_off(batch.len() / 2);
                    left.extend([rest, batch]);
                } else {
                    let code = Some(problem.code.as_str()).filter(|code| !code.is_empty());
                    outcome.refuse(batch, &problem.summary(), code);
                }
            }
            // An API that closes on a body it won't read looks like a lost connection from here.
            Err(ClientError::Interrupted { reason, .. }) if matches!(batch[0].content, Content::OnDisk) => {
                let reason = format!("the connection was closed on it ({reason}): it may be over the API's limit");
                outcome.refuse(batch, &reason, None);
            }
            Err(ClientError::Setup(reason)) => outcome.refuse(batch, &reason, None),
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

/// Submits a batch, again where waiting may help; the form is made anew for each try: a body can be sent once.
async fn submit(
    client: &Client,
    batch: &[Loaded],
    options: &IngestOptions,
    mut patience: Patience<'_>,
) -> Result<Uploaded, ClientError> {
    loop {
        match client.upload(form(batch, options).await?).await {
            Ok(uploaded) => return Ok(uploaded),
            Err(error) => patience.endure(error).await?,
        }
    }
}

const fn is_too_much(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYLOAD_TOO_LARGE)
}

/// Reads the files of a batch; one that can't be read is a failure of its own.
async fn load(batch: Vec<File>, outcome: &mut Outcome) -> Vec<Loaded> {
    let mut loaded = Vec::with_capacity(batch.len());
    for file in batch {
        if file.size > STREAMED {
            loaded.push(Loaded { file, content: Content::OnDisk });
            continue;
        }
        match tokio::fs::read(&file.path).await {
            Ok(bytes) => loaded.push(Loaded { file, content: Content::Bytes(bytes.into()) }),
            Err(error) => outcome.failures.push(FileFailure::new(file.name, format!("can't be read: {error}"))),
        }
    }
    loaded
}

async fn form(batch: &[Loaded], options: &IngestOptions) -> Result<Form, ClientError> {
    // Names go as they are, in UTF-8: RFC 7578 allows no other way of writing them.
    let mut form = Form::new().percent_encode_noop();
    if let Some(collection) = &options.collection {
        form = form.text("collection", collection.clone());
    }
    for Loaded { file, content } in batch {
        let part = match content {
            Content::Bytes(bytes) => Part::stream_with_length(bytes.clone(), bytes.len() as u64),
            Content::OnDisk => {
                let opened = tokio::fs::File::open(&file.path).await;
                let opened = opened.map_err(|error| ClientError::Setup(format!("can't be read: {error}")))?;
                Part::stream_with_length(opened, file.size)
            }
        };
        form = form.part("file", part.file_name(file.name.clone()));
    }
    Ok(form)
}

impl Outcome {
    /// Takes note of what the API said of each file; gives back those to be sent again.
    fn sort(&mut self, batch: Vec<Loaded>, uploaded: Uploaded) -> Vec<Loaded> {
        // The answer has one item per file, in order.
        let mut items = uploaded.items.into_iter();
        let mut again = Vec::new();
        for loaded in batch {
            let name = loaded.file.name.clone();
            match items.next() {
                Some(UploadedFile { job_id: Some(job_id), .. }) => self.accepted.push(Pending { name, job_id }),
                Some(item) if item.code().is_some_and(|code| PASSING.contains(&code)) => again.push(loaded),
                Some(item) => self.failures.push(FileFailure {
                    code: item.code().map(str::to_owned),
                    ..FileFailure::new(name, item.reason())
                }),
                None => self.failures.push(FileFailure::new(name, "the API said nothing about it")),
            }
        }
        again
    }

    fn refuse(&mut self, batch: Vec<Loaded>, reason: &str, code: Option<&str>) {
        self.failures.extend(
            batch.into_iter().map(|loaded| FileFailure {
                code: code.map(str::to_owned),
                ..FileFailure::new(loaded.file.name, reason)
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Vec<File> {
        let file = |(n, size): (usize, &u64)| File { path: format!("{n}").into(), name: n.to_string(), size: *size };
        sizes.iter().enumerate().map(file).collect()
    }

    fn cut(sizes: &[u64]) -> Vec<usize> {
        batches(files(sizes)).map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_batch_is_bounded_in_files_and_bytes_and_a_large_file_goes_alone() {
        assert_eq!(cut(&[1; 130]), [64, 64, 2]);
        assert_eq!(cut(&[BYTES / 2, BYTES / 2, 1]), [2, 1]);
        assert_eq!(cut(&[1, 9 * BYTES, 1]), [1, 1, 1]);
        assert!(cut(&[]).is_empty());
    }
}
