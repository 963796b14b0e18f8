//! `ragq dlq replay`: named letters one by one, a filter as one job of the API.
//!
//! An API that has no job for it gets the letters of the filter one by one from here.

use std::{path::Path, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{Letters, query_of};
use crate::{
    cli::{
        Caller,
        args::ReplayArgs,
        ask,
        client::{ClientError, Reply, segment},
        error::CliError,
        exit::Exit,
    },
    domain::job::Status,
};

/// Letters asked for at a time.
const PAGE: u64 = 200;

#[derive(Deserialize)]
struct Accepted {
    matched: u64,
    #[serde(default)]
    job_id: Option<String>,
}

pub(super) async fn run(caller: &Caller, args: ReplayArgs) -> Result<Exit, CliError> {
    if let Some(path) = &args.payload {
        return match args.ids.as_slice() {
            [id] => edited(caller, id, path).await,
            _ => Err(CliError::Usage("--payload goes with exactly one ID".to_owned())),
        };
    }
    if !args.ids.is_empty() {
        return named(caller, args).await;
    }
    if args.filter.reason.is_none() && args.filter.code.is_none() && !args.all {
        return Err(CliError::Usage("say which: IDs, --reason, --code, or --all".to_owned()));
    }
    match caller.client.admin_post::<Accepted>("/admin/dlq/replay", &body_of(&args)).await {
        Ok(reply) => follow(caller, &args, reply).await,
        Err(ClientError::Refused(problem))
            if matches!(problem.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) =>
        {
            one_by_one(caller, args).await
        }
        Err(error) => Err(error.into()),
    }
}

fn body_of(args: &ReplayArgs) -> Value {
    let fields = [
        ("reason", args.filter.reason.map(|reason| json!(reason))),
        ("code", args.filter.code.map(|code| json!(code))),
        ("limit", args.limit.map(|limit| json!(limit))),
        ("rate_per_second", args.rate.map(|rate| json!(rate))),
        ("dry_run", args.dry_run.then_some(json!(true))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Waits for the API's job, unless it is not asked for or there is none.
async fn follow(caller: &Caller, args: &ReplayArgs, reply: Reply<Accepted>) -> Result<Exit, CliError> {
    let Accepted { matched, job_id } = reply.body;
    let Some(job_id) = job_id.filter(|_| !args.no_wait && !args.dry_run) else {
        let text = if caller.json { reply.raw } else { format!("{matched} match") };
        caller.terminal.line(&text)?;
        return Ok(Exit::Done);
    };
    caller.terminal.note(&format!("{matched} match: replaying as job {job_id}"));
    let job = ask::poll(&caller.client, &job_id, caller.terminal).await?;
    let done = job.body.is(Status::Completed);
    let text = if caller.json {
        job.raw
    } else {
        let error = job.body.error.map_or_else(String::new, |error| format!(": {}", error.message));
        format!("{matched} matched, replay {}{error}", job.body.status)
    };
    caller.terminal.line(&text)?;
    Ok(if done { Exit::Done } else { Exit::Failed })
}

/// Collects the letters first: replaying takes them off the list that is being read.
async fn one_by_one(caller: &Caller, mut args: ReplayArgs) -> Result<Exit, CliError> {
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut query = query_of(&args.filter);
    query.push(("limit", PAGE.to_string()));
    let mut cursor: Option<String> = None;
    loop {
        let mut query = query.clone();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = caller.client.admin_get::<Letters>("/admin/dlq", &query).await?.body;
        args.ids.extend(page.items.into_iter().map(|letter| letter.job_id));
        args.ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        cursor = page.next_cursor.filter(|_| (args.ids.len() as u64) < limit);
        if cursor.is_none() {
            break;
        }
    }
    named(caller, args).await
}

/// Replays these letters, no faster than asked for.
async fn named(caller: &Caller, args: ReplayArgs) -> Result<Exit, CliError> {
    let matched = args.ids.len();
    if args.dry_run {
        let text = json!({ "matched": matched, "replayed": 0 }).to_string();
        caller.terminal.line(&if caller.json { text } else { format!("{matched} match") })?;
        return Ok(Exit::Done);
    }
    let between = args.rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()).unwrap_or_default();
    let mut ticks = interval(between.max(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut replayed, mut failed) = (0, Vec::new());
    for id in &args.ids {
        ticks.tick().await;
        match caller.client.admin_post::<Value>(&format!("/admin/dlq/{}/replay", segment(id)), &json!({})).await {
            Ok(_) => replayed += 1,
            Err(ClientError::Refused(problem)) if problem.is_about_this_one() => {
                caller.terminal.say(&format!("{id}: {}", problem.summary()));
                failed.push(json!({ "job_id": id, "error": problem.summary() }));
            }
            Err(error) => {
                caller.terminal.say(&format!("{replayed} of {matched} replayed"));
                return Err(error.into());
            }
        }
    }
    let exit = Exit::of_counts(replayed, failed.len());
    caller.terminal.line(&if caller.json {
        json!({ "matched": matched, "replayed": replayed, "failed": failed }).to_string()
    } else {
        format!("{replayed} of {matched} replayed")
    })?;
    Ok(exit)
}

async fn edited(caller: &Caller, id: &str, path: &Path) -> Result<Exit, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::Unreadable { path: path.display().to_string(), error })?;
    let payload: Value = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{} is not JSON: {error}", path.display())))?;
    let path = format!("/admin/dlq/{}/replay", segment(id));
    let reply = caller.client.admin_post::<Value>(&path, &json!({ "payload": payload })).await?;
    caller.terminal.line(if caller.json { &reply.raw } else { "1 of 1 replayed" })?;
    Ok(Exit::Done)
}
