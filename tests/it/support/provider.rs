//! The scripted provider: an OpenAI-compatible server over real TCP that says what the test wrote.
//!
//! Each call takes the next reply of its script, chat completions and embeddings one script each. A call
//! nobody expected and a reply nobody fetched fail the test, at [`ScriptedProvider::finish`] or when the
//! provider is dropped. Written on bare sockets, because resets, half replies and garbage are the point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs)]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderMap;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinSet,
};

mod reply;
mod wire;

pub use reply::{Reply, vector_of};

/// How long [`ScriptedProvider::until`] waits before it calls the condition unmet.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the provider counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened.
    pub connections: usize,
    /// Calls that came.
    pub calls: usize,
    /// Calls being replied to.
    pub in_flight: usize,
    /// The most calls that were in flight at a time.
    pub max_in_flight: usize,
    /// Callers that went away before their reply was whole.
    pub disconnects: usize,
}

/// One call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// `/v1/chat/completions?...`.
    pub target: String,
    pub headers: HeaderMap,
    /// The JSON body; null if it was none.
    pub body: Value,
}

impl Call {
    /// Whether it asks for vectors.
    pub fn is_embedding(&self) -> bool {
        self.path().ends_with("/embeddings")
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

type Choice = Box<dyn Fn(&Call) -> Option<Reply> + Send>;

#[derive(Default)]
struct Script {
    choice: Option<Choice>,
    chat: VecDeque<Reply>,
    embeddings: VecDeque<Reply>,
    chat_forever: Option<Reply>,
    embeddings_forever: Option<Reply>,
    calls: Vec<Call>,
    unexpected: Vec<String>,
}

impl Script {
    fn next(&mut self, call: &Call) -> Option<Reply> {
        if let Some(reply) = self.choice.as_ref().and_then(|choice| choice(call)) {
            return Some(reply);
        }
        if call.is_embedding() {
            self.embeddings.pop_front().or_else(|| self.embeddings_forever.clone())
        } else if call.path().ends_with("/chat/completions") {
            self.chat.pop_front().or_else(|| self.chat_forever.clone())
        } else {
            None
        }
    }
}

/// The scripted provider.
pub struct ScriptedProvider {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    counts: watch::Receiver<Counts>,
    judged: bool,
    /// Ends with the provider.
    _tasks: JoinSet<()>,
}

impl ScriptedProvider {
    /// Listens on a port of the system's choice.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let (sender, counts) = watch::channel(Counts::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(wire::accept(listener, Arc::clone(&script), Arc::new(sender)));
        let provider = Self { address, script, counts, judged: false, _tasks: tasks };
        provider.then(replies);
        provider
    }

    /// Adds replies to the script.
    pub fn then(&self, replies: Vec<Reply>) {
        let mut script = self.script.lock().unwrap();
        for reply in replies {
            match (reply.embeds, reply.forever) {
                (false, false) => script.chat.push_back(reply),
                (true, false) => script.embeddings.push_back(reply),
                (false, true) => script.chat_forever = Some(reply),
                (true, true) => script.embeddings_forever = Some(reply),
            }
        }
    }

    /// Replies from now on as `choice` says of a call; where it says nothing, the script holds.
    pub fn choose(&self, choice: impl Fn(&Call) -> Option<Reply> + Send + 'static) {
        self.script.lock().unwrap().choice = Some(Box::new(choice));
    }

    /// What belongs into `model.base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts fulfil `condition`.
    pub async fn until(&self, what: &str, condition: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.clone();
        let met = tokio::time::timeout(PATIENCE, counts.wait_for(|counts| condition(counts))).await;
        let Ok(counts) = met else { panic!("the provider never saw {what}: {:?}", self.counts()) };
        *counts.unwrap()
    }

    /// Ends the provider; panics if a reply was not fetched or a call was not expected.
    pub fn finish(mut self) {
        self.judge();
    }

    fn judge(&mut self) {
        if !std::mem::replace(&mut self.judged, true) {
            let script = self.script.lock().unwrap();
            assert!(script.unexpected.is_empty(), "calls nobody expected: {:?}", script.unexpected);
            let left = script.chat.len() + script.embeddings.len();
            assert_eq!(left, 0, "replies nobody fetched");
        }
    }
}

impl Drop for ScriptedProvider {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.judge();
        }
    }
}

/// An address that refuses every connection as long as it is held.
pub struct RefusingAddress(TcpSocket);

impl RefusingAddress {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.0.local_addr().unwrap())
    }
}

/// Holds replies back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn new() -> Self {
        Self(watch::channel(false).0)
    }

    /// Lets all go on that wait or will wait.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
