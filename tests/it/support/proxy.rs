//! A TCP proxy before a Redis server that knows where commands and replies end, so that it can lose, cut,
//! delay or make up exactly one of them.
#![allow(dead_code, reason = "a tool box: not every tool is in use at all times")]

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What the proxy does at present.
#[derive(Default)]
struct Behaviour {
    server: u16,
    refuses: bool,
    delay: Duration,
    answers: HashMap<String, Vec<u8>>,
    cuts: HashMap<String, usize>,
    seen: HashMap<String, usize>,
    connections: usize,
}

/// A running proxy; it ends with its owner.
pub struct Proxy {
    port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    hang_up: watch::Sender<()>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts one before the server at this loopback port.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let behaviour = Arc::new(Mutex::new(Behaviour { server, ..Behaviour::default() }));
        let (hang_up, order) = watch::channel(());
        let mut accepting = JoinSet::new();
        let shared = Arc::clone(&behaviour);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                if shared.lock().unwrap().refuses {
                    continue;
                }
                let shared = Arc::clone(&shared);
                let server = shared.lock().unwrap().server;
                let mut order = order.clone();
                order.mark_unchanged();
                connections.spawn(async move {
                    // Whoever closes first ends it; both ends are closed with it.
                    tokio::select! {
                        _ = pass(client, server, &shared) => {}
                        _ = order.changed() => {}
                    }
                });
            }
        });
        Self { port, behaviour, hang_up, _accepting: accepting }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server; those that stand stay where they are.
    pub fn lead_to(&self, server: u16) {
        self.behaviour.lock().unwrap().server = server;
    }

    /// Closes all connections, and every new one at once, or lets them in again.
    pub fn refuse(&self, refuses: bool) {
        self.behaviour.lock().unwrap().refuses = refuses;
        if refuses {
            self.hang_up();
        }
    }

    /// Closes all connections.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }

    /// Holds back every reply for so long.
    pub fn delay(&self, delay: Duration) {
        self.behaviour.lock().unwrap().delay = delay;
    }

    /// Answers this command by itself from now on, with `reply` as it goes over the wire.
    pub fn answer(&self, command: &str, reply: &str) {
        self.behaviour.lock().unwrap().answers.insert(command.to_owned(), reply.as_bytes().to_vec());
    }

    /// Passes this command on again.
    pub fn pass_on(&self, command: &str) {
        self.behaviour.lock().unwrap().answers.remove(command);
    }

    /// Lets the server do the next such command, but closes the connection after `bytes` of its reply.
    pub fn cut(&self, command: &str, bytes: usize) {
        self.behaviour.lock().unwrap().cuts.insert(command.to_owned(), bytes);
    }

    /// How many connections were opened to it, also those it refused.
    pub fn connections(&self) -> usize {
        self.behaviour.lock().unwrap().connections
    }

    /// How many such commands came by.
    pub fn seen(&self, command: &str) -> usize {
        self.behaviour.lock().unwrap().seen.get(command).copied().unwrap_or(0)
    }
}

/// Passes on one command after the other, each with its reply.
async fn pass(client: TcpStream, server: u16, behaviour: &Mutex<Behaviour>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    let mut server = BufReader::new(server);
    loop {
        let command = read_value(&mut client).await?;
        let name = name_of(&command);
        let (answer, cut, delay) = {
            let mut behaviour = behaviour.lock().unwrap();
            *behaviour.seen.entry(name.clone()).or_default() += 1;
            (behaviour.answers.get(&name).cloned(), behaviour.cuts.remove(&name), behaviour.delay)
        };
        let mut reply = if let Some(answer) = answer {
            answer
        } else {
            server.write_all(&command).await?;
            if name.ends_with("SUBSCRIBE") {
                // From here on values come unasked.
                tokio::io::copy_bidirectional(&mut client, &mut server).await?;
                return Ok(());
            }
            read_value(&mut server).await?
        };
        tokio::time::sleep(delay).await;
        if let Some(bytes) = cut {
            reply.truncate(bytes);
            client.write_all(&reply).await?;
            return client.shutdown().await;
        }
        client.write_all(&reply).await?;
    }
}

/// The bytes of one value of the protocol: a command or a reply.
async fn read_value(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    let mut missing = 1_usize;
    while missing > 0 {
        missing -= 1;
        let start = value.len();
        if from.read_until(b'\n', &mut value).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&value[start..]).into_owned();
        let size = || line[1..].trim().parse::<i64>().ok().and_then(|size| usize::try_from(size).ok());
        match line.as_bytes().first() {
            Some(b'$') => {
                if let Some(size) = size() {
                    let start = value.len();
                    value.resize(start + size + 2, 0);
                    from.read_exact(&mut value[start..]).await?;
                }
            }
            Some(b'*') => missing += size().unwrap_or(0),
            _ => {}
        }
    }
    Ok(value)
}

/// A command's name in capitals: the second line of its first argument.
fn name_of(command: &[u8]) -> String {
    let name = command.split(|&byte| byte == b'\n').nth(2).unwrap_or_default();
    String::from_utf8_lossy(name).trim().to_uppercase()
}
