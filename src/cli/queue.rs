//! `ragq queue`: the queue in figures, now and in the last minutes; stopping and starting it, emptying it; what
//! operators did.

use serde_json::{Value, json};

use super::{
    Caller,
    args::{CancelArgs, QueueCommand},
    client::Reply,
    error::CliError,
    exit::Exit,
    many::{self, Order, number},
};
use crate::domain::job::{Kind, Status};

pub(super) async fn run(caller: Caller, command: QueueCommand) -> Result<Exit, CliError> {
    caller.need_admin_token()?;
    let (reply, shown): (Reply<Value>, fn(&Value) -> String) = match command {
        QueueCommand::Stats => (caller.client.admin_get("/admin/queue", &[]).await?, describe),
        QueueCommand::Pause { kinds } => (post(&caller, "/admin/queue/pause", &kinds).await?, describe),
        QueueCommand::Resume { kinds } => (post(&caller, "/admin/queue/resume", &kinds).await?, describe),
        QueueCommand::History { minutes } => {
            let query = [("minutes", minutes.to_string())];
            (caller.client.admin_get("/admin/history", &query).await?, describe_history)
        }
        QueueCommand::Audit { limit, cursor } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            (caller.client.admin_get("/admin/audit", &query).await?, describe_audit)
        }
        QueueCommand::Cancel(args) => match cancel(&caller, &args).await? {
            Some(reply) => (reply, |done| many::describe(done, "cancelled")),
            None => return Ok(Exit::Failed),
        },
    };
    let text = if caller.json { reply.raw } else { shown(&reply.body) };
    caller.terminal.line(&text)?;
    Ok(Exit::Done)
}

/// None: the person at the terminal did not want it.
async fn cancel(caller: &Caller, args: &CancelArgs) -> Result<Option<Reply<Value>>, CliError> {
    if args.kind.is_none() && args.statuses.is_empty() && !args.all {
        return Err(CliError::Usage("say which: --kind, --status, or --all".to_owned()));
    }
    let kind = args.kind.map(|kind| ("kind", json!(kind)));
    let statuses = (!args.statuses.is_empty()).then(|| ("status", json!(args.statuses)));
    let order = Order {
        path: "/admin/jobs/cancel",
        which: kind.into_iter().chain(statuses).collect(),
        question: |matched| format!("Cancel {matched} jobs?"),
        done: "cancelled",
        limit: args.limit,
        dry_run: args.dry_run,
        yes: args.yes,
    };
    order.give(caller).await
}

/// One interval a line; times are the 95th percentile.
fn describe_history(history: &Value) -> String {
    const FLOWS: [&str; 8] =
        ["queued", "running", "submitted", "completed", "dead", "cancelled", "retried", "deferred"];
    let mut lines = vec![FLOWS.iter().fold(format!("{:<24}", "from"), |line, name| format!("{line} {name:>9}"))];
    lines[0] += "  wait p95   run p95";
    for item in history.get("items").and_then(Value::as_array).into_iter().flatten() {
        let at = item.get("at").and_then(Value::as_str).unwrap_or_default();
        let mut line = FLOWS.iter().fold(format!("{at:<24}"), |line, name| format!("{line} {:>9}", number(item, name)));
        for name in ["wait_ms", "run_ms"] {
            let p95 = item.get(name).and_then(|times| times.get("p95")).and_then(Value::as_u64);
            line += &p95.map_or_else(|| format!(" {:>9}", "-"), |p95| format!(" {p95:>6} ms"));
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// One action a line.
fn describe_audit(log: &Value) -> String {
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for entry in log.get("items").and_then(Value::as_array).into_iter().flatten() {
        let from = match text(entry, "remote_address") {
            address if address.is_empty() => String::new(),
            address => format!(" from {address}"),
        };
        let detail = entry.get("detail").filter(|detail| !detail.is_null()).map_or_else(String::new, Value::to_string);
        let outcome = match text(entry, "stage").as_str() {
            "failed" if number(entry, "count") > 0 => format!("failed after {}", number(entry, "count")),
            stage @ ("begun" | "failed") => stage.to_owned(),
            _ => number(entry, "count").to_string(),
        };
        let words = [text(entry, "at"), text(entry, "action"), outcome];
        let rest = [text(entry, "subject"), detail, format!("by {}{from}", text(entry, "actor"))];
        let request = format!("(request {})", text(entry, "request_id"));
        let words = words.into_iter().chain(rest).chain([request]).filter(|word| !word.is_empty());
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    if lines.is_empty() {
        lines.push("nothing was done".to_owned());
    }
    lines.extend(log.get("next_cursor").and_then(Value::as_str).map(|cursor| format!("more: --cursor {cursor}")));
    lines.join("\n")
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
        let slots = worker.get("slots").and_then(Value::as_object).into_iter().flatten();
        let mut slots: Vec<String> = slots.map(|(kind, slots)| format!("{slots} {kind}")).collect();
        slots.sort();
        let slots = if slots.is_empty() { String::new() } else { format!(", slots: {}", slots.join(", ")) };
        lines.push((
            "worker",
            format!(
                "{}, {} running{slots}, ragq {}, heard of {}",
                word(worker, &["id"]),
                number(worker, "running").unwrap_or(0),
                word(worker, &["version"]),
                word(worker, &["last_heartbeat_at"])
            ),
        ));
    }
    for breaker in list("breakers") {
        lines.push(("breaker", format!("{} {}", word(breaker, &["name", "provider"]), word(breaker, &["state"]))));
    }
    let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    lines.join("\n")
}
