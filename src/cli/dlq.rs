//! `ragq dlq`: dead letters, their causes, and what can be done about them.

use std::{path::Path, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Caller,
    args::{DlqCommand, LetterFilter},
    client::{
        ClientError, Reply,
        patience::Patience,
        segment,
        wire::{Job, JobError},
    },
    error::CliError,
    exit::Exit,
    terminal::short,
};
use crate::domain::{clock::Timestamp, job::Kind, job::Status};

/// How long one poll lets the API wait.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long the API may be away while a replay is waited for.
const AWAY: Duration = Duration::from_mins(2);

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

#[derive(Deserialize)]
struct Replay {
    matched: u64,
    #[serde(default)]
    job_id: Option<String>,
}

pub(super) async fn run(caller: Caller, command: DlqCommand) -> Result<Exit, CliError> {
    caller.need_admin_token()?;
    match command {
        DlqCommand::List { filter, kind, limit, cursor } => list(&caller, &filter, kind, limit, cursor).await,
        DlqCommand::Show { id } => show(&caller, &id).await,
        DlqCommand::Replay { ids, payload: Some(path), .. } => match ids.as_slice() {
            [id] => replay_edited(&caller, id, &path).await,
            _ => Err(CliError::Usage("--payload goes with exactly one ID".to_owned())),
        },
        DlqCommand::Replay { ids, filter, all, limit, rate, dry_run, payload: None, no_wait } => {
            if ids.is_empty() && filter.reason.is_none() && filter.code.is_none() && !all {
                return Err(CliError::Usage("say which: IDs, --reason, --code, or --all".to_owned()));
            }
            let body = filter_body(&ids, &filter, limit, rate, dry_run);
            replay(&caller, &body, dry_run || no_wait).await
        }
        DlqCommand::Discard { ids } => discard(&caller, &ids).await,
    }
}

async fn list(
    caller: &Caller,
    filter: &LetterFilter,
    kind: Option<Kind>,
    limit: u32,
    cursor: Option<String>,
) -> Result<Exit, CliError> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(filter.reason.map(|reason| ("reason", reason.to_string())));
    query.extend(filter.code.map(|code| ("code", code.to_string())));
    query.extend(kind.map(|kind| ("kind", kind.to_string())));
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

fn filter_body(ids: &[String], filter: &LetterFilter, limit: Option<u64>, rate: Option<f64>, dry_run: bool) -> Value {
    let mut body = serde_json::Map::new();
    if !ids.is_empty() {
        body.insert("ids".to_owned(), json!(ids));
    }
    let fields = [
        ("reason", filter.reason.map(|reason| json!(reason))),
        ("code", filter.code.map(|code| json!(code))),
        ("limit", limit.map(|limit| json!(limit))),
        ("rate_per_second", rate.map(|rate| json!(rate))),
        ("dry_run", dry_run.then_some(json!(true))),
    ];
    body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(body)
}

async fn replay(caller: &Caller, body: &Value, only_accept: bool) -> Result<Exit, CliError> {
    let reply = caller.client.admin_post::<Replay>("/admin/dlq/replay", body).await?;
    let Replay { matched, job_id } = reply.body;
    match job_id {
        Some(job_id) if !only_accept => {
            caller.terminal.note(&format!("{matched} dead letters match; replaying as job {job_id}"));
            let job = wait(caller, &job_id).await?;
            let text = if caller.json {
                job.raw
            } else {
                let result = job.body.result.map_or_else(String::new, |result| format!(" {result}"));
                let error = job.body.error.map_or_else(String::new, |error| format!(": {}", error.message));
                format!("{matched} matched, replay {}{result}{error}", job.body.status)
            };
            caller.terminal.line(&text)?;
            Ok(if job.body.status == Status::Completed.as_str() { Exit::Done } else { Exit::Failed })
        }
        job_id => {
            let text = match job_id {
                _ if caller.json => reply.raw,
                Some(job_id) => format!("{matched} match; replaying as job {job_id}"),
                None => format!("{matched} match"),
            };
            caller.terminal.line(&text)?;
            Ok(Exit::Done)
        }
    }
}

async fn wait(caller: &Caller, id: &str) -> Result<Reply<Job>, CliError> {
    let tell = |why: &str, _: Duration| caller.terminal.note(&format!("{why}: asking again"));
    let patience = Patience { limit: AWAY, outlast_restarts: true, tell: &tell };
    loop {
        let reply = patience.send(async || caller.client.job(id, LONG_POLL).await).await?;
        if reply.body.is_final() {
            return Ok(reply);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

async fn replay_edited(caller: &Caller, id: &str, path: &Path) -> Result<Exit, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::Unreadable { path: path.display().to_string(), error })?;
    let payload: Value = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{} is not JSON: {error}", path.display())))?;
    let path = format!("/admin/dlq/{}/replay", segment(id));
    let reply = caller.client.admin_post::<Value>(&path, &json!({ "payload": payload })).await?;
    caller.terminal.line(if caller.json { &reply.raw } else { "replayed" })?;
    Ok(Exit::Done)
}

async fn discard(caller: &Caller, ids: &[String]) -> Result<Exit, CliError> {
    let (mut done, mut failed, mut items) = (0, 0, Vec::new());
    for id in ids {
        match caller.client.admin_delete(&format!("/admin/dlq/{}", segment(id))).await {
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
