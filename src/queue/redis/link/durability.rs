//! Writes that are confirmed only when they are on a disk or on replicas.
//!
//! `WAITAOF` (from 7.2) and `WAIT` hold up the connection they are sent on, so such writes have one of their
//! own. Both wait for what *this* connection wrote last; a script that found its work already done, by another
//! connection and perhaps not yet on disk, has written nothing. So a write of ours goes before them.
//! Before 7.2 only `appendfsync always` gives the same promise: then no reply leaves before the sync.

use std::time::Duration;

use redis::{Pipeline, Value, aio::MultiplexedConnection};

use super::{
    faults::{Fault, Trouble},
    info::{Info, Version},
};

/// A write that is good for nothing but to be waited for, and possible when memory is full, too.
const STAMP: &str = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '', 'PX', 1)";

/// The first version that knows `WAITAOF`.
const KNOWS_WAITAOF: Version = Version(7, 2);

/// Which confirmations are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    /// That the server's own disk has it.
    pub fsync: bool,
    /// How many replicas must have it.
    pub replicas: u32,
    /// How long to wait for each of the two.
    pub within: Duration,
}

impl Proof {
    /// Whether there is anything to be confirmed.
    pub(super) fn is_wanted(&self) -> bool {
        self.fsync || self.replicas > 0
    }

    /// How long all confirmations may take.
    pub(super) fn longest(&self) -> Duration {
        self.within * (u32::from(self.fsync) + u32::from(self.replicas > 0))
    }
}

/// What is asked of the server of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    waitaof: bool,
    replicas: u32,
    within: Duration,
}

/// Finds out how this server can give the proof; fails if it can't.
pub(super) async fn how(proof: Proof, connection: &mut MultiplexedConnection) -> Result<Asked, Trouble> {
    let mut asked = Asked { waitaof: false, replicas: proof.replicas, within: proof.within };
    if proof.fsync {
        let version = Info::ask(connection, &["server"]).await?.version();
        asked.waitaof = version.is_none_or(|version| version >= KNOWS_WAITAOF);
        if !asked.waitaof {
            require_sync_always(connection).await?;
        }
    }
    Ok(asked)
}

async fn require_sync_always(connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
    let found = super::info::config(connection, "appendfsync").await?;
    let why = match found.as_deref() {
        Some("always") => return Ok(()),
        Some(other) => format!("appendfsync is {other:?} there"),
        None => "whether appendfsync is \"always\" there is not told".to_owned(),
    };
    let text = format!(
        "queue.durability is \"fsync\", which takes Redis 7.2 (for WAITAOF) or appendfsync always, but this server \
         is older and {why}: set appendfsync always, or update it"
    );
    Err(Trouble::new(Fault::Unsafe, text))
}

impl Asked {
    /// Whether anything is asked.
    pub(super) fn anything(self) -> bool {
        self.waitaof || self.replicas > 0
    }

    /// Adds the questions to a pipeline that ends with the write in question.
    pub(super) fn add_to(self, pipeline: &mut Pipeline, key: &str) {
        let within = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX).max(1);
        if self.anything() {
            pipeline.cmd("EVAL").arg(STAMP).arg(1).arg(format!("{key}:confirm"));
        }
        if self.waitaof {
            pipeline.cmd("WAITAOF").arg(1).arg(0).arg(within);
        }
        if self.replicas > 0 {
            pipeline.cmd("WAIT").arg(self.replicas).arg(within);
        }
    }

    /// Judges the replies to them; what is missing, in words, if the write is not confirmed.
    pub(super) fn judge(self, replies: impl Iterator<Item = Value>) -> Result<Option<String>, Trouble> {
        match self.missing(replies) {
            // Such as a right that is missing: the write is there all the same.
            Err(trouble) if !trouble.passes() => Ok(Some(trouble.text)),
            judged => judged.map_err(Trouble::after_the_call),
        }
    }

    fn missing(self, mut replies: impl Iterator<Item = Value>) -> Result<Option<String>, Trouble> {
        if self.anything() {
            answer::<Value>(replies.next())?;
        }
        if self.waitaof {
            let (local, _): (u64, u64) = answer(replies.next())?;
            if local == 0 {
                return Ok(Some(format!("it was not synced to disk within {} ms", self.within.as_millis())));
            }
        }
        if self.replicas > 0 {
            let reached: u64 = answer(replies.next())?;
            if reached < u64::from(self.replicas) {
                return Ok(Some(format!("{reached} replicas have it, {} were asked for", self.replicas)));
            }
        }
        Ok(None)
    }
}

fn answer<T: redis::FromRedisValue>(reply: Option<Value>) -> Result<T, Trouble> {
    let reply = reply.ok_or_else(|| Trouble::new(Fault::Unclear, "a reply is missing"))?;
    Ok(redis::from_redis_value(reply.extract_error()?).map_err(redis::RedisError::from)?)
}
