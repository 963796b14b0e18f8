//! `ragq health`: the probe of containers.

use std::time::Duration;

use serde_json::Value;

use super::{Caller, error::CliError, exit::Exit};

/// A probe that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run(caller: Caller) -> Result<Exit, CliError> {
    let (ready, reply) = caller.client.ready(LIMIT).await?;
    if caller.json {
        caller.terminal.line(&reply.raw)?;
    } else {
        caller.terminal.line(&say(ready, &reply.body))?;
    }
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

/// The status, and what is wrong: the parts of a degraded API, or why it is not ready.
fn say(ready: bool, body: &Value) -> String {
    let word = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let status = body.get("status").and_then(Value::as_str).unwrap_or(if ready { "ready" } else { "not ready" });
    let mut reasons: Vec<String> = body
        .get("degraded")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|part| format!("{}: {} ({})", word(part, "component"), word(part, "message"), word(part, "code")))
        .collect();
    if !ready {
        reasons.extend(Some(word(body, "detail")).filter(|detail| !detail.is_empty()));
    }
    if reasons.is_empty() { status.to_owned() } else { format!("{status}: {}", reasons.join("; ")) }
}
