//! Finds the server to talk to: all that differs between one server, Sentinel and Cluster.
//!
//! Nothing is remembered from one time to the next: names are looked up anew and sentinels or nodes asked
//! again, so that every reconnect follows a failover, a changed name or a moved slot.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use redis::{FromRedisValue as _, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    Mode,
    door::{Door, SignIn},
    faults::{Fault, Trouble},
};

type Host = (String, u16);

/// How long the other sentinels are waited for when one has answered: one of them may know of a failover that
/// the first has not heard of, but one that is gone must not hold up everything.
const SECOND_OPINION: Duration = Duration::from_millis(250);

/// The host that has the queue at present, for writing.
pub(super) async fn resolve(door: &Door, mode: &Mode, key: &str) -> Result<Host, Trouble> {
    match mode {
        Mode::Single => door.address.hosts.first().cloned().ok_or_else(nobody),
        Mode::Sentinel { master } => primary_named(door, master).await,
        Mode::Cluster => {
            let mut last = nobody();
            for node in &door.address.hosts {
                match primary_of_slot(door, node, key).await {
                    Ok(host) => return Ok(host),
                    Err(trouble) => last = passed_over(node, trouble),
                }
            }
            Err(last)
        }
    }
}

fn nobody() -> Trouble {
    Trouble::new(Fault::Broken, "no host is named")
}

fn passed_over((name, port): &Host, trouble: Trouble) -> Trouble {
    tracing::debug!(redis.host = name, redis.port = port, reason = trouble.text, "redis host named no primary");
    trouble
}

/// The primary that the sentinels name; of different answers the one of the latest failover.
async fn primary_named(door: &Door, master: &str) -> Result<Host, Trouble> {
    let mut asked: FuturesUnordered<_> = FuturesUnordered::new();
    for sentinel in &door.address.hosts {
        asked.push(named_by(door, sentinel, master));
    }
    let mut latest = Err(nobody());
    let mut until = None;
    loop {
        let answer = match until {
            None => asked.next().await,
            Some(until) => timeout_at(until, asked.next()).await.unwrap_or(None),
        };
        match (answer, &latest) {
            (None, _) => break,
            (Some(Ok(named)), known) => {
                if known.as_ref().map_or(true, |known: &Named| known.epoch < named.epoch) {
                    latest = Ok(named);
                }
                until.get_or_insert_with(|| Instant::now() + SECOND_OPINION);
            }
            (Some(Err(trouble)), Err(_)) => latest = Err(trouble),
            (Some(Err(_)), Ok(_)) => {}
        }
    }
    let Named { host, .. } = latest?;
    // Sentinels may not have noticed yet that it is none any more.
    let mut connection = door.open(&host, Some(door.response_timeout()), SignIn::Yes).await?;
    let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    let role = role.into_iter().next().map(String::from_redis_value).transpose().map_err(unreadable)?;
    match role.as_deref() {
        Some("master") => Ok(host),
        _ => Err(Trouble::new(Fault::Undone, "the server that the sentinels name is not the primary (yet)")),
    }
}

/// What a sentinel says.
struct Named {
    host: Host,
    /// The number of the failover that made it the primary.
    epoch: u64,
}

async fn named_by(door: &Door, sentinel: &Host, master: &str) -> Result<Named, Trouble> {
    let mut asked = ask_sentinel(door, sentinel, master, SignIn::No).await;
    // The password is that of the data; sentinels may have none.
    let refused = |trouble: &Trouble| matches!(trouble.fault, Fault::Locked | Fault::Denied);
    if asked.as_ref().is_err_and(refused) && door.address.password.is_some() {
        asked = ask_sentinel(door, sentinel, master, SignIn::WithoutDatabase).await;
    }
    asked.map_err(|trouble| {
        // All that can be wrong with the question is the name; it may be made known later.
        let unknown = trouble.fault == Fault::Broken;
        let text = format!("the sentinels know no primary by the name {master:?} ({})", trouble.text);
        passed_over(sentinel, if unknown { Trouble::new(Fault::Undone, text) } else { trouble })
    })
}

async fn ask_sentinel(door: &Door, sentinel: &Host, master: &str, sign_in: SignIn) -> Result<Named, Trouble> {
    let mut connection = door.open(sentinel, Some(door.response_timeout()), sign_in).await?;
    // The first tells how late the failover was, the second knows the new primary before it is over.
    let (details, host): (HashMap<String, String>, Host) = redis::pipe()
        .cmd("SENTINEL")
        .arg("MASTER")
        .arg(master)
        .cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(master)
        .query_async(&mut connection)
        .await?;
    let epoch = details.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok(Named { host, epoch })
}

async fn primary_of_slot(door: &Door, node: &Host, key: &str) -> Result<Host, Trouble> {
    let mut connection = door.open(node, Some(door.response_timeout()), SignIn::Yes).await?;
    let (slot, slots): (u16, Vec<Vec<Value>>) = redis::pipe()
        .cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(key)
        .cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut connection)
        .await?;
    for range in slots {
        let mut range = range.into_iter();
        let (Some(from), Some(to), Some(primary)) = (range.next(), range.next(), range.next()) else { continue };
        let number = |value| u16::from_redis_value(value).map_err(unreadable);
        if !(number(from)?..=number(to)?).contains(&slot) {
            continue;
        }
        let mut parts = Vec::<Value>::from_redis_value(primary).map_err(unreadable)?.into_iter();
        let host = parts.next().map(Option::<String>::from_redis_value).transpose().map_err(unreadable)?.flatten();
        let port = number(parts.next().unwrap_or(Value::Nil))?;
        // A node that does not know its own name means the one it was reached by.
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| node.0.clone());
        return Ok((host, port));
    }
    Err(Trouble::new(Fault::Undone, format!("no node of the Cluster serves slot {slot}")))
}

fn unreadable(error: redis::ParsingError) -> Trouble {
    redis::RedisError::from(error).into()
}
