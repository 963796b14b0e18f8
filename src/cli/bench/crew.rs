//! The worker processes of a run, from the parent's side: started, told to begin, listened to, ended.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::worker::{Record, Said};
use crate::config::Settings;

/// Longest silence of all processes together while jobs are still to come.
const SILENCE: Duration = Duration::from_secs(30);

/// How often they are looked at while they are silent.
const LOOK: Duration = Duration::from_millis(500);

/// Worker processes; killed when dropped.
pub(super) struct Crew {
    processes: Vec<(Child, Option<ChildStdin>)>,
    said: mpsc::UnboundedReceiver<(usize, Said)>,
    /// Pass on what they say.
    readers: JoinSet<()>,
}

impl Crew {
    /// Starts so many processes on the queue of these settings; returns when all have reached it.
    pub(super) async fn start(settings: &Settings, count: u32, arguments: &[String]) -> anyhow::Result<Self> {
        let (sender, said) = mpsc::unbounded_channel();
        let mut crew = Self { processes: Vec::new(), said, readers: JoinSet::new() };
        for number in 0..count as usize {
            let mut child = spawn(settings, arguments).context("a worker process can't be started")?;
            if let Some(stdout) = child.stdout.take() {
                crew.readers.spawn(listen(number, stdout, sender.clone()));
            }
            let stdin = child.stdin.take();
            crew.processes.push((child, stdin));
        }
        drop(sender);
        for _ in 0..count {
            match crew.next().await? {
                Some((_, Said::Ready)) => {}
                Some((_, said)) => anyhow::bail!("a worker process said {said:?} before it was ready"),
                None => anyhow::bail!("a worker process does not get ready"),
            }
        }
        Ok(crew)
    }

    /// Gives the order to begin.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        for (_, stdin) in &mut self.processes {
            if let Some(stdin) = stdin {
                stdin.write_all(b"begin\n").await.context("a worker process is gone")?;
            }
        }
        Ok(())
    }

    /// What one of them says next, and which; none after a long silence. Fails if one fails or ends unasked.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<(usize, Said)>> {
        let silent_at = Instant::now() + SILENCE;
        while Instant::now() < silent_at {
            match timeout(LOOK, self.said.recv()).await {
                Ok(Some((_, Said::Failed(why)))) => anyhow::bail!("a worker process failed: {why}"),
                Ok(Some(said)) => return Ok(Some(said)),
                Ok(None) => anyhow::bail!("all worker processes ended"),
                Err(_) => {}
            }
            for (child, _) in &mut self.processes {
                if let Some(status) = child.try_wait()? {
                    anyhow::bail!("a worker process ended by itself: {status}");
                }
            }
        }
        Ok(None)
    }

    /// Gives the order to end, and waits for what they have to say at the end.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Record>> {
        for (_, stdin) in &mut self.processes {
            // Closed, which is the order.
            drop(stdin.take());
        }
        let mut records = Vec::new();
        while let Some((_, said)) = self.said.recv().await {
            match said {
                Said::Ended(record) => records.push(record),
                Said::Failed(why) => anyhow::bail!("a worker process failed: {why}"),
                Said::Ready | Said::Handled(_) | Said::Started(_) => {}
            }
        }
        for (child, _) in &mut self.processes {
            let status = child.wait().await?;
            anyhow::ensure!(status.success(), "a worker process failed: {status}");
        }
        Ok(records)
    }
}

/// In a process group of its own: a Ctrl-C in the terminal is the parent's to deal with.
fn spawn(settings: &Settings, arguments: &[String]) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["bench", "worker"])
        .args(arguments)
        .env("RAGQ_QUEUE__NAME", &settings.queue.name)
        .env("RAGQ_STORE__DATA_DIR", &settings.store.data_dir)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn listen(number: usize, stdout: ChildStdout, sender: mpsc::UnboundedSender<(usize, Said)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // What is no such line is something that a library printed.
        let Ok(said) = serde_json::from_str(&line) else { continue };
        if sender.send((number, said)).is_err() {
            return;
        }
    }
}
