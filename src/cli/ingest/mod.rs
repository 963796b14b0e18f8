//! `ragq ingest`: takes in files, folders and standard input through the API of a running ragq.
//!
//! [`walk`] finds the files, [`upload`] sends them in batches, [`settle`] waits for their jobs; the last two
//! run side by side. Memory holds a name per file and the bytes of the batches under way, no more.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::channel::mpsc;
use serde_json::json;

pub mod progress;
pub mod summary;

mod settle;
mod upload;
mod walk;

pub use progress::Progress;
pub use summary::{FileFailure, Skipped, Summary};

use super::{
    Caller,
    args::IngestArgs,
    client::{Client, patience::Patience, wire::TextDocument},
    error::CliError,
    exit::Exit,
};

/// How long sending goes on while the API is full or away without taking anything.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// How documents are taken in.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// The collection to put them in; none: the API's default.
    pub collection: Option<String>,
    /// The folder that documents are called relative to; none: the working directory.
    pub root: Option<PathBuf>,
    /// Whether to end when everything is accepted.
    pub no_wait: bool,
}

/// A submitted document whose job is still to be waited for.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) job_id: String,
}

/// Takes in files and folders; what failed is in the summary, and so is what ended it early.
pub async fn run_paths(client: &Client, paths: &[PathBuf], options: &IngestOptions, progress: &Progress) -> Summary {
    let (walk_paths, root) = (paths.to_vec(), options.root.clone());
    let found = tokio::task::spawn_blocking(move || walk::find(&walk_paths, root.as_deref())).await;
    let found = match found {
        Ok(found) => found,
        // The walk runs to its end: only a stopped runtime leaves it unfinished.
        Err(error) => walk::Found::failed(&error.to_string()),
    };
    let mut summary = Summary { skipped: found.skipped, failures: found.failures, ..Summary::default() };
    progress.found(found.files.len());
    // As many names as files at most, so this needs no bound of its own.
    let (sender, accepted) = mpsc::unbounded();
    let uploading = upload::run(client, found.files, options, progress, sender);
    let settling = settle::run(client, accepted, options.no_wait, progress);
    let (sent, settled) = futures::join!(uploading, settling);
    progress.finish();
    summary.failures.extend(sent.failures);
    summary.failures.extend(settled.failures);
    summary.ingested = settled.ingested;
    summary.unchanged = settled.unchanged;
    summary.pending = settled.pending;
    summary.not_sent = sent.unsent;
    summary.error = sent.error.or(settled.error);
    summary
}

pub(super) async fn run(caller: Caller, args: &IngestArgs) -> Result<Exit, CliError> {
    let is_stdin = |path: &PathBuf| path == Path::new("-");
    let stdin = args.paths.iter().any(is_stdin);
    if stdin && args.title.is_none() {
        return Err(CliError::Usage("what comes on standard input needs a --title".to_owned()));
    }
    if !stdin && args.title.is_some() {
        return Err(CliError::Usage("--title is for standard input (`-`); files have their own".to_owned()));
    }
    let options = IngestOptions { collection: args.collection.clone(), root: args.root.clone(), no_wait: args.no_wait };
    let progress = if caller.terminal.stderr { Progress::bars() } else { Progress::hidden() };
    let work = async {
        let mut summary = Summary::default();
        if let (true, Some(title)) = (stdin, &args.title) {
            summary = run_stdin(&caller.client, title, &options, &progress).await?;
        }
        let paths: Vec<PathBuf> = args.paths.iter().filter(|path| !is_stdin(path)).cloned().collect();
        if !paths.is_empty() && summary.error.is_none() {
            summary.add(run_paths(&caller.client, &paths, &options, &progress).await);
        }
        Ok::<_, CliError>(summary)
    };
    let summary = tokio::select! {
        summary = work => summary?,
        _ = tokio::signal::ctrl_c() => {
            progress.finish();
            caller.terminal.say(&format!(
                "\n{} documents were accepted and are taken in without you; give the command again for the rest",
                progress.accepted()
            ));
            return Ok(Exit::Interrupted);
        }
    };
    summary.print(caller.terminal, caller.json)?;
    Ok(summary.exit())
}

/// Takes in standard input as one text known by its title.
async fn run_stdin(
    client: &Client,
    title: &str,
    options: &IngestOptions,
    progress: &Progress,
) -> Result<Summary, CliError> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    });
    let unreadable = |error| CliError::Unreadable { path: "standard input".to_owned(), error };
    let text = read.await.map_err(|error| unreadable(error.into()))?.map_err(unreadable)?;
    progress.found(1);
    let document = TextDocument {
        title: title.to_owned(),
        text,
        // None: then it is known by its title, and the same title again replaces the text that was there.
        source: None,
        collection: options.collection.clone(),
    };
    let tell = |why: &str, wait: Duration| progress.waiting(why, wait);
    let mut patience = Patience::new(PATIENCE, &tell);
    // Sent twice, the second is an unchanged document.
    let accepted = loop {
        match client.put_text(&document).await {
            Ok(accepted) => break accepted,
            Err(error) => patience.endure(error).await?,
        }
    };
    progress.sent(1);
    let (sender, receiver) = mpsc::unbounded();
    let pending = Pending { name: title.to_owned(), job_id: accepted.body.job_id };
    // The receiver is right here.
    drop(sender.unbounded_send(pending));
    drop(sender);
    let settled = settle::run(client, receiver, options.no_wait, progress).await;
    progress.finish();
    Ok(Summary {
        ingested: settled.ingested,
        unchanged: settled.unchanged,
        pending: settled.pending,
        failures: settled.failures,
        error: settled.error,
        ..Summary::default()
    })
}

impl FileFailure {
    pub(super) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into(), code: None, job_id: None }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        json!({ "name": self.name, "code": self.code, "message": self.reason, "job_id": self.job_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        ask::{AskOptions, ask_and_print},
        client::Connection,
        terminal::Terminal,
    };

    fn is_send(_: &impl Send) {}

    #[test]
    fn ingesting_and_asking_can_be_spawned() {
        let client = Client::new(Connection::to("http://127.0.0.1:1")).unwrap();
        let (options, progress) = (IngestOptions::default(), Progress::hidden());
        is_send(&run_paths(&client, &[], &options, &progress));
        let terminal = Terminal::detect(&crate::config::Environment::default());
        let options =
            AskOptions { collection: None, conversation: None, top_k: None, stream: true, json: false, terminal };
        is_send(&ask_and_print(&client, "", &options));
    }
}
