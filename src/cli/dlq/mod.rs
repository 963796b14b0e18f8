//! `ragq dlq`: dead letters, their causes, and what can be done about them. Replaying is in [`replay`].

mod replay;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Caller,
    args::{DiscardArgs, DlqCommand, LetterFilter},
    client::{ClientError, segment, wire::JobError},
    error::CliError,
    exit::Exit,
    many::{self, Order},
    terminal::short,
};
use crate::domain::clock::Timestamp;

#[derive(Deserialize)]
struct Letters {
    items: Vec<Letter>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Letter {
    job_id: String,
    kind: String,
    reason: String,
    error: JobError,
    #[serde(default)]
    dead_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Group {
    reason: String,
    code: String,
    count: u64,
}

pub(super) async fn run(caller: Caller, command: DlqCommand) -> Result<Exit, CliError> {
    caller.need_admin_token()?;
    match command {
        DlqCommand::List { filter, limit, cursor } => list(&caller, &filter, limit, cursor).await,
        DlqCommand::Show { id } => show(&caller, &id).await,
        DlqCommand::Replay(args) => replay::run(&caller, args).await,
        DlqCommand::Discard(args) if args.ids.is_empty() => discard_all(&caller, &args).await,
        DlqCommand::Discard(DiscardArgs { ids, .. }) => discard(&caller, &ids).await,
    }
}

async fn list(caller: &Caller, filter: &LetterFilter, limit: u32, cursor: Option<String>) -> Result<Exit, CliError> {
    let mut query = query_of(filter);
    query.push(("limit", limit.to_string()));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let reply = caller.client.admin_get::<Letters>("/admin/dlq", &query).await?;
    if caller.json {
        caller.terminal.line(&reply.raw)?;
        return Ok(Exit::Done);
    }
    let Letters { items, next_cursor, groups } = reply.body;
    for group in &groups {
        caller.terminal.line(&format!("{:>7} {} {}", group.count, group.reason, group.code))?;
    }
    if items.is_empty() {
        caller.terminal.line("no dead letters")?;
    } else if !groups.is_empty() {
        caller.terminal.line("")?;
    }
    for letter in &items {
        let at = letter.dead_at.map_or_else(String::new, |at| at.to_string());
        let Letter { job_id, kind, reason, error, .. } = letter;
        caller.terminal.line(&format!(
            "{job_id} {at} {kind} {reason} {}: {}",
            error.code,
            short(&error.message, 100)
        ))?;
    }
    if let Some(cursor) = next_cursor {
        caller.terminal.line(&format!("more: --cursor {cursor}"))?;
    }
    Ok(Exit::Done)
}

/// The filter as parameters of the query string.
fn query_of(filter: &LetterFilter) -> Vec<(&'static str, String)> {
    let reason = filter.reason.map(|reason| ("reason", reason.to_string()));
    let code = filter.code.map(|code| ("code", code.to_string()));
    let kind = filter.kind.map(|kind| ("kind", kind.to_string()));
    reason.into_iter().chain(code).chain(kind).collect()
}

async fn show(caller: &Caller, id: &str) -> Result<Exit, CliError> {
    let reply = caller.client.admin_get::<Value>(&format!("/admin/dlq/{}", segment(id)), &[]).await?;
    if caller.json {
        caller.terminal.line(&reply.raw)?;
        return Ok(Exit::Done);
    }
    caller.terminal.line(&describe(&reply.body))?;
    Ok(Exit::Done)
}

/// The letter, one fact a line: what failed, every delivery that did not end well, what was to be done.
fn describe(letter: &Value) -> String {
    let mut lines = vec![
        format!("{} {} dead: {}", word(letter, "kind"), word(letter, "job_id"), word(letter, "reason")),
        format!("created   {}", word(letter, "created_at")),
        format!("dead      {}", word(letter, "dead_at")),
    ];
    let failure = |of: &Value| {
        let error = of.get("error").filter(|error| !error.is_null())?;
        Some(format!("{}: {}", word(error, "code"), word(error, "message")))
    };
    lines.extend(failure(letter).map(|error| format!("error     {error}")));
    for attempt in letter.get("attempts").and_then(Value::as_array).into_iter().flatten() {
        let error = failure(attempt).map_or_else(String::new, |error| format!(": {error}"));
        lines.push(format!(
            "attempt   {} (delivery {}) {} {} by {}{error}",
            word(attempt, "attempt"),
            word(attempt, "delivery"),
            word(attempt, "ended_at"),
            word(attempt, "outcome"),
            word(attempt, "worker"),
        ));
    }
    let payload = letter.get("payload").and_then(|payload| serde_json::to_string_pretty(payload).ok());
    lines.push(format!("payload   {}", payload.unwrap_or_default()));
    lines.join("\n")
}

fn word(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

async fn discard_all(caller: &Caller, args: &DiscardArgs) -> Result<Exit, CliError> {
    let which: Vec<_> = query_of(&args.filter).into_iter().map(|(name, word)| (name, json!(word))).collect();
    if which.is_empty() && !args.all {
        return Err(CliError::Usage("say which: IDs, --reason, --code, --kind, or --all".to_owned()));
    }
    let order = Order {
        path: "/admin/dlq/discard",
        which,
        question: |matched| format!("Discard {matched} dead letters for good?"),
        done: "discarded",
        limit: args.limit,
        dry_run: args.dry_run,
        yes: args.yes,
    };
    let Some(reply) = order.give(caller).await? else { return Ok(Exit::Failed) };
    let text = if caller.json { reply.raw } else { many::describe(&reply.body, "discarded") };
    caller.terminal.line(&text)?;
    Ok(Exit::Done)
}

async fn discard(caller: &Caller, ids: &[String]) -> Result<Exit, CliError> {
    let (mut done, mut failed, mut items) = (0, 0, Vec::new());
    for id in ids {
        match caller.client.admin_delete::<Value>(&format!("/admin/dlq/{}", segment(id))).await {
            Ok(_) => {
                done += 1;
                items.push(json!({ "job_id": id, "discarded": true }));
                if !caller.json {
                    caller.terminal.line(&format!("{id} discarded"))?;
                }
            }
            Err(ClientError::Refused(problem)) if ids.len() > 1 && problem.is_about_this_one() => {
                failed += 1;
                items.push(json!({ "job_id": id, "discarded": false, "error": problem.summary() }));
                caller.terminal.say(&format!("{id}: {}", problem.summary()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if caller.json {
        caller.terminal.line(&json!({ "items": items }).to_string())?;
    }
    Ok(Exit::of_counts(done, failed))
}
