//! Whether a server keeps jobs safe: judged once at start, from what it says about itself.
//!
//! Refused: what would lose jobs that were accepted. Warned of: what can't be read, and what was asked for
//! but is not there at the moment.

use redis::aio::MultiplexedConnection;

use super::{
    Mode, Warning,
    faults::{Fault, Trouble},
    info::{self, Info, Version},
};

/// The first version with everything that the scripts use.
const OLDEST: Version = Version(7, 0);

/// What is asked of the server.
#[derive(Clone, Copy)]
pub(super) struct Demands<'a> {
    pub mode: &'a Mode,
    pub min_replicas: u32,
    pub allow_unsafe: bool,
}

/// What the server says.
struct Facts {
    info: Info,
    append_only: Option<bool>,
    eviction: Option<String>,
}

/// Judges the server at the other end.
pub(super) async fn check(
    connection: &mut MultiplexedConnection,
    demands: Demands<'_>,
) -> Result<Vec<Warning>, Trouble> {
    let info = match Info::ask(connection, &[]).await {
        Ok(info) => info,
        Err(trouble) if matches!(trouble.fault, Fault::Denied | Fault::Broken) => Info::default(),
        Err(trouble) => return Err(trouble),
    };
    let append_only = match info.field("aof_enabled") {
        Some(value) => Some(value == "1"),
        None => info::config(connection, "appendonly").await?.map(|value| value == "yes"),
    };
    let eviction = match info.field("maxmemory_policy") {
        Some(policy) => Some(policy.to_owned()),
        None => info::config(connection, "maxmemory-policy").await?,
    };
    judge(&Facts { info, append_only, eviction }, demands)
}

fn judge(facts: &Facts, demands: Demands<'_>) -> Result<Vec<Warning>, Trouble> {
    let Facts { info, append_only, eviction } = facts;
    let mut warnings = Vec::new();
    let mut unsafe_ones = Vec::new();
    let mut warn = |message: String| warnings.push(Warning { message });
    match info.version() {
        Some(version) if version < OLDEST => {
            let text = format!("this server is of version {version}: ragq needs Redis 7.0 or later, or Valkey");
            return Err(Trouble::new(Fault::Unsafe, text));
        }
        Some(_) => {}
        None => warn("the server does not tell its version: ragq needs Redis 7.0 or later, or Valkey".into()),
    }
    match append_only {
        Some(true) => {}
        Some(false) => unsafe_ones.push("it keeps no append-only file: set appendonly yes".to_owned()),
        None => {
            warn("the server does not tell whether it keeps an append-only file: see that appendonly is yes".into());
        }
    }
    match eviction.as_deref() {
        Some("noeviction") => {}
        Some(policy) => unsafe_ones.push(format!(
            "it drops keys when memory is full (maxmemory-policy is {policy}): set maxmemory-policy noeviction"
        )),
        None => warn(
            "the server does not tell what it does when memory is full: see that maxmemory-policy is noeviction".into(),
        ),
    }
    let replicas = info.number("connected_slaves");
    if demands.min_replicas > 0 && replicas.is_some_and(|replicas| replicas < u64::from(demands.min_replicas)) {
        warn(format!(
            "the server has {} replicas, queue.min_replicas asks for {}: until there are more no submit is confirmed",
            replicas.unwrap_or(0),
            demands.min_replicas
        ));
    }
    if *demands.mode == Mode::Single && info.field("cluster_enabled") == Some("1") {
        warn("the server is a node of a Cluster: unless it serves all slots, set redis.mode to cluster".into());
    }
    if unsafe_ones.is_empty() {
        return Ok(warnings);
    }
    let text = format!("jobs are not safe on this server, {}", unsafe_ones.join("; "));
    if demands.allow_unsafe {
        warnings.push(Warning { message: text });
        return Ok(warnings);
    }
    Err(Trouble::new(Fault::Unsafe, format!("{text} (or RAGQ_QUEUE__ALLOW_UNSAFE=true to go on all the same)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str = "redis_version:7.0.15\naof_enabled:1\nmaxmemory_policy:noeviction\nconnected_slaves:1\n";

    fn judged(text: &str, min_replicas: u32, allow_unsafe: bool) -> Result<Vec<String>, String> {
        let info = Info::of(text);
        let append_only = info.field("aof_enabled").map(|value| value == "1");
        let eviction = info.field("maxmemory_policy").map(str::to_owned);
        let facts = Facts { info, append_only, eviction };
        let judged = judge(&facts, Demands { mode: &Mode::Single, min_replicas, allow_unsafe });
        let words = |warnings: Vec<Warning>| warnings.into_iter().map(|warning| warning.message).collect();
        judged.map(words).map_err(|trouble| trouble.text)
    }

    #[test]
    fn a_safe_server_is_taken_without_a_word() {
        assert_eq!(judged(SAFE, 1, false), Ok(vec![]));
    }

    #[test]
    fn an_unsafe_server_is_refused_with_what_to_set_or_warned_of_when_that_is_allowed() {
        for (right, wrong, what) in [
            ("aof_enabled:1", "aof_enabled:0", "appendonly yes"),
            ("policy:noeviction", "policy:allkeys-lru", "maxmemory-policy noeviction"),
        ] {
            let text = SAFE.replace(right, wrong);
            let refused = judged(&text, 0, false).unwrap_err();
            assert!(refused.contains(what) && refused.contains("RAGQ_QUEUE__ALLOW_UNSAFE"), "{refused}");
            let warned = judged(&text, 0, true).unwrap();
            assert!(warned.len() == 1 && warned[0].contains(what), "{warned:?}");
        }
    }

    #[test]
    fn an_old_server_is_refused_whatever_is_allowed() {
        let refused = judged(&SAFE.replace("7.0.15", "6.2.14"), 0, true).unwrap_err();
        assert!(refused.contains("6.2") && refused.contains("7.0"), "{refused}");
    }

    #[test]
    fn what_a_server_does_not_tell_is_warned_of() {
        assert_eq!(judged("", 0, false).unwrap().len(), 3);
    }

    #[test]
    fn missing_replicas_and_a_node_of_a_cluster_are_warned_of() {
        let text = format!("{SAFE}cluster_enabled:1\n");
        let warned = judged(&text, 2, false).unwrap();
        assert!(warned[0].contains("1 replicas") && warned[1].contains("redis.mode"), "{warned:?}");
    }
}
