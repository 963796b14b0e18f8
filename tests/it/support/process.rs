//! The real binary as a child process, started as a user starts it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// The binary under test.
pub const RAGQ: &str = env!("CARGO_BIN_EXE_ragq");

/// A command of the real binary with nothing of the environment but what a program needs to run.
pub fn ragq() -> Command {
    let mut command = Command::new(RAGQ);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
    command
}

/// Sends a process `INT`, `TERM`, `STOP` or `CONT`; without the `kill` program, which a small system may lack.
pub fn signal(process: u32, name: &str) {
    let signal = match name {
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no such signal here: {other}"),
    };
    let process = Pid::from_raw(process.cast_signed()).expect("a process has a number");
    kill_process(process, signal).expect("it is running");
}

/// A running `ragq up`.
pub struct Up {
    /// Where its API is.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
    /// The process.
    pub child: Child,
    /// What it printed up to being ready.
    pub banner: String,
}

impl Up {
    /// Starts `ragq up` on `data` with more settings by environment, and waits until it is ready.
    pub async fn start(data: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_with(data, environment, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(data: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_logging(data, environment, arguments, Stdio::inherit()).await
    }

    /// The same with its log going to `log`.
    pub async fn start_logging(
        data: &Path,
        environment: &[(&str, &str)],
        arguments: &[&str],
        log: impl Into<Stdio>,
    ) -> Self {
        let mut command = ragq();
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .current_dir(data.parent().expect("a data folder within another"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut banner = String::new();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("stdout can be read") {
                banner += &line;
                banner.push('\n');
                if line.is_empty() {
                    return;
                }
            }
            panic!("ragq up ended before it was ready: {banner}");
        };
        tokio::time::timeout(Duration::from_mins(1), ready).await.expect("ready within a minute");
        let url = banner.lines().next().and_then(|line| line.split_whitespace().last()).expect("a URL").to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{banner}");
        // What it prints later must go somewhere, or it would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url, data: data.to_owned(), child, banner }
    }

    /// The admin token it keeps in its data folder.
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.data.join("admin-token")).expect("an admin token is kept")
    }

    /// Kills it as a crash would: no handler runs.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// Sends it a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id().expect("it is running"), name);
    }

    /// Tells it to stop and waits for its end.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        tokio::time::timeout(Duration::from_mins(1), self.child.wait())
            .await
            .expect("it ends")
            .expect("it can be waited for")
    }
}
