//! `ragq queue`: the queue in figures, and stopping and starting it.

use serde_json::{Value, json};

use super::{Caller, args::QueueCommand, client::Reply, error::CliError, exit::Exit};
use crate::domain::job::{Kind, Status};

pub(super) async fn run(caller: Caller, command: QueueCommand) -> Result<Exit, CliError> {
    caller.need_admin_token()?;
    let reply = match command {
        QueueCommand::Stats => caller.client.admin_get::<Value>("/admin/queue", &[]).await?,
        QueueCommand::Pause { kinds } => post(&caller, "/admin/queue/pause", &kinds).await?,
        QueueCommand::Resume { kinds } => post(&caller, "/admin/queue/resume", &kinds).await?,
    };
    let text = if caller.json { reply.raw } else { describe(&reply.body) };
    caller.terminal.line(&text)?;
    Ok(Exit::Done)
}

async fn post(caller: &Caller, path: &str, kinds: &[Kind]) -> Result<Reply<Value>, CliError> {
    // No kinds: all of them.
    let body = if kinds.is_empty() { json!({}) } else { json!({ "kinds": kinds }) };
    Ok(caller.client.admin_post(path, &body).await?)
}

/// The figures, one fact a line; what an API does not say is left out.
fn describe(stats: &Value) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64);
    let list = |name: &str| stats.get(name).and_then(Value::as_array).into_iter().flatten();
    let word = |of: &Value, names: &[&str]| {
        names.iter().find_map(|name| of.get(*name).and_then(Value::as_str)).unwrap_or("?").to_owned()
    };
    if let Some(counts) = stats.get("counts") {
        lines.extend(Status::ALL.iter().map(|status| {
            let count = number(counts, status.as_str()).unwrap_or(0);
            (status.as_str(), count.to_string())
        }));
    }
    lines.extend(number(stats, "backlog").map(|count| ("backlog", count.to_string())));
    if let Some(age) = number(stats, "oldest_queued_age_ms") {
        lines.push(("oldest", format!("{:.1} s queued", age as f64 / 1000.0)));
    }
    if stats.get("paused").is_some() {
        let kinds: Vec<&str> = list("paused").filter_map(Value::as_str).collect();
        lines.push(("paused", if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }));
    }
    for worker in list("workers") {
        lines
            .push(("worker", format!("{}, {} running", word(worker, &["id"]), number(worker, "running").unwrap_or(0))));
    }
    for breaker in list("breakers") {
        lines.push(("breaker", format!("{} {}", word(breaker, &["name", "provider"]), word(breaker, &["state"]))));
    }
    let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    lines.join("\n")
}
