//! Real Redis servers as children, each on a port and in a folder of its own, gone with the test.
#![allow(dead_code, reason = "a tool box: not every tool is in use at all times")]

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use redis::{AsyncConnectionConfig, FromRedisValue, RedisResult, aio::MultiplexedConnection};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

/// A running `redis-server` on a loopback port.
pub struct Server {
    folder: TempDir,
    port: u16,
    kind: Kind,
    settings: Vec<(String, String)>,
    child: Child,
}

/// What a server is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Sentinel,
    Node { bus: u16 },
}

impl Server {
    /// Starts one with these settings, as they would stand in `redis.conf`, and waits until it answers. It
    /// writes an append-only file unless told otherwise, and no snapshots.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_kind(settings, || Kind::Data).await
    }

    /// Starts a sentinel that watches nothing yet.
    pub async fn start_sentinel(settings: &[(&str, &str)]) -> Self {
        Self::start_kind(settings, || Kind::Sentinel).await
    }

    /// Starts a node of a Cluster that has no slots and knows no other node yet.
    pub async fn start_node() -> Self {
        let settings = [("cluster-enabled", "yes"), ("cluster-node-timeout", "2000")];
        Self::start_kind(&settings, || Kind::Node { bus: free_port() }).await
    }

    async fn start_kind(settings: &[(&str, &str)], kind: impl Fn() -> Kind) -> Self {
        let mut folder = tempfile::tempdir().expect("a temporary folder can be made");
        let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        // The port is free when it is chosen, but nothing keeps it until the server has it.
        for _ in 0..10 {
            let (port, kind) = (free_port(), kind());
            let child = spawn(folder.path(), port, kind, &settings);
            let mut server = Self { folder, port, kind, settings: settings.clone(), child };
            if server.answers().await {
                return server;
            }
            let log = server.log();
            assert!(log.contains("Address already in use"), "redis-server did not start: {log}");
            folder = server.folder;
        }
        panic!("no port was free ten times in a row");
    }

    /// The port on which nodes of a Cluster talk to each other.
    pub fn bus_port(&self) -> u16 {
        match self.kind {
            Kind::Node { bus } => bus,
            Kind::Data | Kind::Sentinel => panic!("no node of a Cluster"),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, as `redis://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its folder, with the append-only file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A connection of the test's own, to look into it and to disturb it.
    pub async fn client(&self) -> MultiplexedConnection {
        connect(&self.url()).await
    }

    /// Kills it as the kernel would, with nothing flushed; waits for its end.
    pub async fn kill9(&mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// Starts it again on the same port and folder, and waits until it answers. Kills it first if it runs.
    pub async fn restart(&mut self) {
        self.restart_loading().await;
        assert!(self.answers().await, "redis-server did not start again: {}", self.log());
    }

    /// The same without waiting: it may still be reading its data.
    pub async fn restart_loading(&mut self) {
        self.kill9().await;
        self.child = spawn(self.folder.path(), self.port, self.kind, &self.settings);
    }

    /// Makes a setting hold from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Holds it up as a machine without breath would: connections stand, nothing is answered.
    pub fn stop_signal(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont_signal(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it is running").cast_signed();
        kill_process(Pid::from_raw(id).expect("a process has a number"), signal).expect("it is running");
    }

    /// Waits until it answers; false if it ended before that.
    async fn answers(&mut self) -> bool {
        let port = self.port;
        let child = &mut self.child;
        super::eventually(async || {
            if child.try_wait().expect("it can be waited for").is_some() {
                return Some(false);
            }
            ping(port).await.then_some(true)
        })
        .await
    }
}

/// A connection for a test's own use, patient with a slow machine.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(30)))
        .set_response_timeout(Some(Duration::from_secs(30)));
    let client = redis::Client::open(url).expect("a URL of a server");
    client.get_multiplexed_async_connection_with_config(&patient).await.expect("the server is there")
}

/// Sends a command given in words.
pub async fn say<T: FromRedisValue>(client: &mut MultiplexedConnection, words: &str) -> RedisResult<T> {
    let mut words = words.split(' ');
    redis::cmd(words.next().expect("a command")).arg(words.collect::<Vec<_>>()).query_async(client).await
}

/// A port that is free at present.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(folder: &Path, port: u16, kind: Kind, settings: &[(String, String)]) -> Child {
    let mut command = Command::new("redis-server");
    if kind == Kind::Sentinel {
        // It keeps in this file what it finds out.
        let file = folder.join("sentinel.conf");
        if !file.exists() {
            std::fs::write(&file, "").expect("its folder can be written");
        }
        command.arg(file).arg("--sentinel");
    }
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--logfile", "log", "--dir"]).arg(folder);
    if kind != Kind::Sentinel {
        command.args(["--save", "", "--appendonly", "yes", "--enable-debug-command", "yes"]);
        // A replica is served at once, not after five seconds in which others might want the same.
        command.args(["--repl-diskless-sync-delay", "0"]);
    }
    if let Kind::Node { bus } = kind {
        command.args(["--cluster-port", &bus.to_string()]);
    }
    for (name, value) in settings {
        command.arg(format!("--{name}")).args(value.split(' '));
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("redis-server can't be started ({error}): install redis-server"))
}

/// Whether a server that is done with starting answers at the port, also one that wants a password first.
async fn ping(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && [b"+PONG", b"-NOAU"].contains(&&answer)
}
