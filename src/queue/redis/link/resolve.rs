//! Finds the server to talk to: all that differs between one server, Sentinel and Cluster.
//!
//! Nothing is remembered from one time to the next: names are looked up anew and sentinels or nodes asked
//! again, so that every reconnect follows a failover, a changed name or a moved slot.

use redis::{FromRedisValue as _, Value};

use super::{
    Mode,
    door::{Door, SignIn},
    faults::{Fault, Trouble},
};

type Host = (String, u16);

/// The host that has the queue at present, for writing: the first answer that one of the URL's hosts gives,
/// else what the last one said.
pub(super) async fn resolve(door: &Door, mode: &Mode, key: &str) -> Result<Host, Trouble> {
    let mut last = Trouble::new(Fault::Broken, "no host is named");
    for host in &door.address.hosts {
        let found = match mode {
            Mode::Single => Ok(host.clone()),
            Mode::Sentinel { master } => primary_named(door, host, master).await,
            Mode::Cluster => primary_of_slot(door, host, key).await,
        };
        match found {
            Ok(found) => return Ok(found),
            Err(trouble) => {
                let (name, port, reason) = (&host.0, host.1, &trouble.text);
                tracing::debug!(redis.host = name, redis.port = port, reason, "redis host named no primary");
                last = trouble;
            }
        }
    }
    Err(last)
}

async fn primary_named(door: &Door, sentinel: &Host, master: &str) -> Result<Host, Trouble> {
    let mut asked = ask_sentinel(door, sentinel, master, SignIn::No).await;
    // The password is that of the data; sentinels may have none.
    let refused = |trouble: &Trouble| matches!(trouble.fault, Fault::Locked | Fault::Denied);
    if asked.as_ref().is_err_and(refused) && door.address.password.is_some() {
        asked = ask_sentinel(door, sentinel, master, SignIn::WithoutDatabase).await;
    }
    let found: Option<Host> = asked?;
    let host = found
        .ok_or_else(|| Trouble::new(Fault::Undone, format!("the sentinels know no primary by the name {master:?}")))?;
    // A sentinel that was cut off still names the primary of before.
    let mut connection = door.open(&host, Some(door.response_timeout()), SignIn::Yes).await?;
    let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    let role = role.into_iter().next().map(String::from_redis_value).transpose().map_err(unreadable)?;
    match role.as_deref() {
        Some("master") => Ok(host),
        _ => Err(Trouble::new(Fault::Undone, "the server that the sentinels name is not the primary (yet)")),
    }
}

async fn ask_sentinel(door: &Door, sentinel: &Host, master: &str, sign_in: SignIn) -> Result<Option<Host>, Trouble> {
    let mut connection = door.open(sentinel, Some(door.response_timeout()), sign_in).await?;
    Ok(redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut connection).await?)
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
