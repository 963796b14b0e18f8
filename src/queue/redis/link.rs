//! The way to the server that has the queue, whatever happens to it on the way.
//!
//! Every step of the store is one script with one key; the link runs it, and goes on trying through stalls,
//! restarts, failovers and moved slots for as long as its [`LinkOptions::patience`] lasts. Which fault means
//! what stands in [`faults`], how the server is found in [`resolve`], how the connection is shared in [`lane`].
//! What scripts do is the store's matter.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use redis::{
    Cmd, FromRedisValue, Pipeline, Value,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::{
    address::Address,
    door::{Door, SignIn},
    durability::{Asked, Proof},
    faults::{Fault, Trouble, UNREADABLE},
    lane::{BACKOFF, Held, Lane},
    safety::Demands,
};
use crate::{config::Secret, queue::StoreError};

mod address;
mod door;
mod durability;
mod faults;
mod info;
mod lane;
mod resolve;
mod safety;

pub(super) use info::Info;
pub use redis::Script;

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How the server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is the one host of the URL; its name is looked up at every connect.
    Single,
    /// The hosts of the URL are sentinels, which know it. User and password of the URL are those of the data;
    /// a sentinel is shown them only if it asks.
    Sentinel {
        /// The name under which the sentinels watch it.
        master: String,
    },
    /// The hosts of the URL are nodes of a Cluster, any of which know who serves the queue's slot.
    Cluster,
}

/// What a link is to.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// `redis://[user:password@]host[:port][,host[:port]...][/database]`, `rediss://` for TLS; several hosts only
    /// for Sentinel and Cluster.
    pub url: Secret,
    /// How the server is found.
    pub mode: Mode,
    /// Any key of the queue: KEYS\[1\] of every script, and what tells the slot in a Cluster.
    pub key: String,
    /// Certificate authorities to trust instead of the system's, a file in PEM.
    pub tls_ca_file: Option<PathBuf>,
    /// Longest time to open a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, before the connection is given up.
    pub response_timeout: Duration,
    /// How long one call goes on trying: no try begins later than this after the call. Also how long a durable
    /// write may wait for its disk, and for its replicas.
    pub patience: Duration,
    /// Whether a durable write is confirmed only when it is synced to the server's disk.
    pub fsync: bool,
    /// How many replicas must have a durable write before it is confirmed.
    pub min_replicas: u32,
    /// Whether a server that may lose jobs is only warned of.
    pub allow_unsafe: bool,
}

/// Whether a call waits for its writes to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// As safe as the server makes them by itself.
    No,
    /// On disk and on replicas as [`LinkOptions::fsync`] and [`LinkOptions::min_replicas`] ask. Such calls go one
    /// after another: many writes belong into one call.
    Durable,
}

/// Something about the server that its operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What, and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why a call was not done, or not as asked. No text in it holds a secret or an argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The options are no good.
    #[error("the Redis settings can't be used: {0}")]
    Options(String),
    /// Patience was over before a try succeeded; whether any of them was done is not known.
    #[error("Redis can't be reached: {0}")]
    Unreachable(String),
    /// Memory is full: nothing was done.
    #[error("Redis is out of memory: {0}")]
    Full(String),
    /// The disk can't be written: nothing was done.
    #[error("Redis can't write to its disk: {0}")]
    Disk(String),
    /// The password is wrong or a right is missing.
    #[error("Redis denies access: {0}")]
    Denied(String),
    /// The server would not keep jobs as safe as asked.
    #[error("Redis is not set up for this: {0}")]
    Unsafe(String),
    /// It was done, but is not as safe as asked (yet).
    #[error("Redis has not confirmed the write: {0}")]
    Unconfirmed(String),
    /// The script failed or its reply was not of the expected type.
    #[error("Redis gave an unexpected answer: {0}")]
    Broken(String),
}

impl From<Trouble> for LinkError {
    fn from(Trouble { fault, text }: Trouble) -> Self {
        match fault {
            Fault::Undone | Fault::Unclear | Fault::Unloaded => Self::Unreachable(text),
            Fault::Full => Self::Full(text),
            Fault::Disk => Self::Disk(text),
            Fault::Locked | Fault::Denied => Self::Denied(text),
            Fault::Unsafe => Self::Unsafe(text),
            Fault::Broken => Self::Broken(text),
        }
    }
}

impl From<LinkError> for StoreError {
    fn from(error: LinkError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The way to the server; clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    door: Door,
    mode: Mode,
    key: String,
    patience: Duration,
    allow_unsafe: bool,
    shared: Lane,
    durable: Lane,
    /// Confirmed calls hold up their connection: one at a time, so that none times out behind another.
    confirming: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("mode", &self.0.mode).field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// A script's arguments, written into its call; `true`: the script may already have run for this call.
pub trait Arguments: Fn(bool, &mut Cmd) + Send + Sync {}
impl<F: Fn(bool, &mut Cmd) + Send + Sync> Arguments for F {}

impl Link {
    /// A link as described; nothing is contacted yet. Fails if the URL or the certificate file can't be read, or
    /// if the options contradict each other.
    pub fn new(options: LinkOptions) -> Result<Self, LinkError> {
        let sentinel = matches!(options.mode, Mode::Sentinel { .. });
        let default_port = if sentinel { SENTINEL_PORT } else { DEFAULT_PORT };
        let address = Address::parse(options.url.expose(), default_port)
            .map_err(|why| LinkError::Options(format!("the URL {why}")))?;
        contradiction(&options, &address).map_or(Ok(()), |why| Err(LinkError::Options(why.to_owned())))?;
        let authorities = options.tls_ca_file.as_deref();
        let door = Door::new(address, authorities, options.connect_timeout, options.response_timeout)
            .map_err(LinkError::Options)?;
        let proof = Proof { fsync: options.fsync, replicas: options.min_replicas, within: options.patience };
        Ok(Self(Arc::new(Inner {
            door,
            mode: options.mode,
            key: options.key,
            patience: options.patience,
            allow_unsafe: options.allow_unsafe,
            shared: Lane::new("shared", Proof::default()),
            durable: Lane::new("durable", proof),
            confirming: tokio::sync::Mutex::default(),
        })))
    }

    /// Judges whether the server keeps jobs safe, for the start of a process: an unsafe one is an error (or a
    /// warning where that is allowed), one that does not tell is a warning.
    pub async fn check(&self) -> Result<Vec<Warning>, LinkError> {
        let mut tries = self.0.tries();
        loop {
            match self.0.check().await {
                Ok(warnings) => return Ok(warnings),
                Err(trouble) => tries.wait_after(trouble).await?,
            }
        }
    }

    /// Runs a script with KEYS\[1\] = [`LinkOptions::key`] and what `arguments` writes as ARGV.
    ///
    /// After a fault that leaves open whether the script ran, it is sent again with `true` for its arguments: it
    /// must then recognise that it has run already. In rare cases the two runs come in the opposite order: what
    /// was sent to a server that stalled can be run when it wakes up, after the second one.
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        confirm: Confirm,
        arguments: impl Arguments,
    ) -> Result<T, LinkError> {
        let inner = &*self.0;
        let reply = if confirm == Confirm::Durable && inner.durable.proof.is_wanted() {
            let _turn = inner.confirming.lock().await;
            inner.run(&inner.durable, script, &arguments).await?
        } else {
            inner.run(&inner.shared, script, &arguments).await?
        };
        redis::from_redis_value(reply).map_err(|_| LinkError::Broken(UNREADABLE.to_owned()))
    }

    /// A connection of one's own on which answers may take for ever, for a blocking pop.
    pub async fn dedicated(&self) -> Result<MultiplexedConnection, LinkError> {
        let mut tries = self.0.tries();
        loop {
            match self.0.connect(None).await {
                Ok(connection) => return Ok(connection),
                Err(trouble) => tries.wait_after(trouble).await?,
            }
        }
    }

    /// A connection for subscriptions.
    pub async fn pubsub(&self) -> Result<PubSub, LinkError> {
        let mut tries = self.0.tries();
        loop {
            match self.0.subscriber().await {
                Ok(connection) => return Ok(connection),
                Err(trouble) => tries.wait_after(trouble).await?,
            }
        }
    }

    /// The hosts of the URL, for people.
    pub fn hosts(&self) -> String {
        let hosts = &self.0.door.address.hosts;
        hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
    }

    /// How often a connection that calls share was opened again.
    pub fn reconnects(&self) -> u64 {
        self.0.shared.reopenings() + self.0.durable.reopenings()
    }
}

fn contradiction(options: &LinkOptions, address: &Address) -> Option<&'static str> {
    match &options.mode {
        Mode::Single if address.hosts.len() > 1 => {
            Some("the URL names several hosts, which takes redis.mode sentinel or cluster")
        }
        Mode::Cluster if address.database != 0 => Some("a Cluster has no databases but 0"),
        Mode::Sentinel { master } if master.is_empty() => Some("redis.sentinel_master must name the primary"),
        Mode::Single | Mode::Sentinel { .. } | Mode::Cluster => None,
    }
}

/// The tries of one call, as long as patience lasts.
struct Tries {
    deadline: Instant,
    failures: u32,
}

impl Tries {
    /// Waits for the next try; fails if it can't help or would be too late.
    async fn wait_after(&mut self, trouble: Trouble) -> Result<(), LinkError> {
        self.failures += 1;
        let next = Instant::now() + BACKOFF.wait(self.failures);
        if !trouble.passes() || next > self.deadline {
            return Err(trouble.into());
        }
        sleep_until(next).await;
        Ok(())
    }
}

impl Inner {
    fn tries(&self) -> Tries {
        Tries { deadline: Instant::now() + self.patience, failures: 0 }
    }

    async fn connect(&self, answer_within: Option<Duration>) -> Result<MultiplexedConnection, Trouble> {
        let host = resolve::resolve(&self.door, &self.mode, &self.key).await?;
        self.door.open(&host, answer_within, SignIn::Yes).await
    }

    async fn subscriber(&self) -> Result<PubSub, Trouble> {
        let host = resolve::resolve(&self.door, &self.mode, &self.key).await?;
        self.door.subscriber(&host).await
    }

    async fn check(&self) -> Result<Vec<Warning>, Trouble> {
        let proof = self.durable.proof;
        let demands = Demands { mode: &self.mode, min_replicas: proof.replicas, allow_unsafe: self.allow_unsafe };
        let mut connection = self.connect(Some(self.door.response_timeout())).await?;
        let warnings = safety::check(&mut connection, demands).await?;
        durability::how(proof, &mut connection).await?;
        Ok(warnings)
    }

    async fn open(&self, proof: Proof) -> Result<(MultiplexedConnection, Asked), Trouble> {
        let answer_within = self.door.response_timeout() + proof.longest();
        let mut connection = self.connect(Some(answer_within)).await?;
        let asked = durability::how(proof, &mut connection).await?;
        Ok((connection, asked))
    }

    /// Sends until there is an answer, another try can't help or patience is over.
    async fn run(&self, lane: &Lane, script: &Script, arguments: &impl Arguments) -> Result<Value, LinkError> {
        let deadline = Instant::now() + self.patience;
        let mut again = false;
        let mut last = None;
        while last.is_none() || Instant::now() < deadline {
            let held = if let Some(held) = lane.held() {
                Ok(held)
            } else {
                // Boxed: it is seldom needed, and as large as it is every call would carry room for it.
                let opening = Box::pin(lane.opened(self.open(lane.proof)));
                match timeout_at(deadline + self.door.connect_timeout(), opening).await {
                    Ok(opened) => opened,
                    Err(_) => break,
                }
            };
            let (held, trouble) = match held {
                Ok(mut held) => match self.send(&mut held, script, again, arguments).await {
                    Ok((reply, missing)) => {
                        lane.did_well();
                        return missing.map_or(Ok(reply), |missing| Err(LinkError::Unconfirmed(missing)));
                    }
                    Err(trouble) => (Some(held), trouble),
                },
                Err(trouble) => (None, trouble),
            };
            if !trouble.passes() {
                return Err(trouble.into());
            }
            if let Some(held) = held {
                again |= trouble.fault == Fault::Unclear;
                lane.give_up(&held, &trouble);
            }
            last = Some(trouble);
        }
        Err(last.unwrap_or_else(|| Trouble::late("connecting")).into())
    }

    /// Sends; a server that does not have the script (any more) is given it first.
    async fn send(
        &self,
        held: &mut Held,
        script: &Script,
        again: bool,
        arguments: &impl Arguments,
    ) -> Result<(Value, Option<String>), Trouble> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.get_hash()).arg(1).arg(&self.key);
        arguments(again, &mut call);
        match self.send_once(held, &call).await {
            Err(trouble) if trouble.fault == Fault::Unloaded => {
                Box::pin(script.load_async(&mut held.connection)).await?;
                self.send_once(held, &call).await
            }
            sent => sent,
        }
    }

    /// The script's reply, and what is missing for a confirmation.
    async fn send_once(&self, held: &mut Held, call: &Cmd) -> Result<(Value, Option<String>), Trouble> {
        if !held.asked.anything() {
            let reply = held.connection.send_packed_command(call).await?;
            return Ok((reply.extract_error()?, None));
        }
        let mut pipeline = Pipeline::new();
        pipeline.add_command(call.clone());
        held.asked.add_to(&mut pipeline, &self.key);
        let replies = held.connection.send_packed_commands(&pipeline, 0, pipeline.len()).await?;
        let mut replies = replies.into_iter();
        let reply = replies.next().unwrap_or(Value::Nil).extract_error()?;
        Ok((reply, held.asked.judge(replies)?))
    }
}
