//! The command line from outside: the real binary against nothing, and against an API that plays a script.
#![allow(clippy::unwrap_used)] // helpers of tests fail the test

mod ask;
mod bench;
mod docs;
mod ingest;
mod operator;
mod provider_sim;
mod real;
mod scripted;
mod usage;

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command};

/// Nothing listens there: the port is privileged and unused.
const NOBODY: &str = "http://127.0.0.1:1";

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails the test, showing everything, unless the exit code is this one.
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in\n{}", self.stderr);
        }
        self
    }
}

/// The binary with an empty environment in an empty folder.
struct Ragq {
    command: Command,
    folder: tempfile::TempDir,
}

fn ragq<const N: usize>(url: &str, args: [&str; N]) -> Ragq {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ragq"));
    command.env_clear().env("RAGQ_URL", url).current_dir(folder.path()).args(args).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ragq { command, folder }
}

impl Ragq {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The operator's token, which every operator's command needs.
    fn operator(self) -> Self {
        self.env("RAGQ_ADMIN_TOKEN", "the-operators-token")
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn run(self) -> Ended {
        self.run_with_stdin("").await
    }

    /// Runs it to its end; fails the test if there is none to be seen.
    async fn run_with_stdin(mut self, text: &str) -> Ended {
        let mut child = self.command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may be gone by now.
        stdin.write_all(text.as_bytes()).await.ok();
        drop(stdin);
        let ended = tokio::time::timeout(Duration::from_mins(1), child.wait_with_output()).await;
        assert!(ended.is_ok(), "{:?} does not end", self.command.as_std());
        Ended::of(ended.unwrap().unwrap())
    }
}
