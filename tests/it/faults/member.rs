//! One real process of a deployment: started, signalled, killed, and listened to.

use std::{
    fmt::Write as _,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

use crate::support::process;

/// One process of a deployment.
pub struct Member {
    /// Its worker name, or that of its role.
    pub name: String,
    /// Where it listens.
    pub url: String,
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinSet<()>,
}

impl Member {
    /// Starts a role and waits until it is ready.
    pub async fn start(role: &str, name: &str, environment: &[(String, String)]) -> Self {
        Self::start_by(process::ragq(), role, name, environment).await
    }

    /// The same by a command that runs the binary in its own way.
    pub async fn start_by(mut command: Command, role: &str, name: &str, environment: &[(String, String)]) -> Self {
        let mut child = command
            .args([role, "--listen", "127.0.0.1:0"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("RAGQ_WORKER__NAME", name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let log = Arc::<Mutex<String>>::default();
        let mut reading = JoinSet::new();
        let noted = Arc::clone(&log);
        reading.spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                writeln!(noted.lock().unwrap(), "{line}").unwrap();
            }
        });
        let ready = async { lines.next_line().await.expect("it can be read") };
        let ready = tokio::time::timeout(Duration::from_mins(1), ready).await.expect("ready within a minute");
        let Some(ready) = ready else {
            panic!("ragq {role} ended before it was ready: {}", log.lock().unwrap());
        };
        let url = ready.split_whitespace().last().expect("an address").to_owned();
        assert!(ready.contains("is ready") && url.starts_with("http://127.0.0.1:"), "{ready}");
        reading.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { name: name.to_owned(), url, child, log, reading }
    }

    /// Sends it a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        process::signal(self.child.id().expect("it is running"), name);
    }

    /// Kills it as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// Waits for its end, and for the last of its words.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_mins(1), self.child.wait()).await;
        while self.reading.join_next().await.is_some() {}
        ended.unwrap_or_else(|_| panic!("{} does not end: {}", self.name, self.log())).expect("it can be waited for")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How many lines it has logged with these words.
    pub fn logged(&self, words: &str) -> usize {
        self.log.lock().unwrap().lines().filter(|line| line.contains(words)).count()
    }
}
