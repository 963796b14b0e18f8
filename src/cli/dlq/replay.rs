//! `ragq dlq replay`: one letter by itself, many as one job of the API, which is followed to its end.

use std::{path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cli::{
        Caller,
        args::ReplayArgs,
        client::{ClientError, Reply, patience::Patience, segment, wire::Job},
        error::CliError,
        exit::Exit,
    },
    domain::{
        job::Status,
        replay::{ReplayProgress, Stopped},
    },
};

const ROUTE: &str = "/admin/dlq/replay";
/// How often a replay's progress is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the API may be away meanwhile.
const AWAY: Duration = Duration::from_mins(2);

#[derive(Deserialize)]
struct Matched {
    matched: u64,
}

#[derive(Deserialize)]
struct Accepted {
    job_id: String,
    matched: u64,
}

pub(super) async fn run(caller: &Caller, args: ReplayArgs) -> Result<Exit, CliError> {
    if let Some(path) = &args.payload {
        return match args.ids.as_slice() {
            [id] => one(caller, id, Some(path)).await,
            _ => Err(CliError::Usage("--payload goes with exactly one ID".to_owned())),
        };
    }
    let filter = &args.filter;
    let narrowed = filter.reason.is_some() || filter.code.is_some() || filter.kind.is_some();
    match args.ids.as_slice() {
        [id] if !narrowed && !args.dry_run => return one(caller, id, None).await,
        [] if !narrowed && !args.all => {
            return Err(CliError::Usage("say which: IDs, --reason, --code, --kind, or --all".to_owned()));
        }
        _ => {}
    }
    if args.dry_run {
        return matching(caller, &args).await.and_then(|reply| {
            let text = if caller.json { reply.raw } else { format!("{} match", reply.body.matched) };
            caller.terminal.line(&text)?;
            Ok(Exit::Done)
        });
    }
    if !args.yes && caller.is_watched() {
        let matched = matching(caller, &args).await?.body.matched;
        if !caller.terminal.confirmed(&format!("Replay {matched} dead letters?"))? {
            caller.terminal.say("nothing was replayed");
            return Ok(Exit::Failed);
        }
    }
    let Accepted { job_id, matched } = caller.client.admin_post(ROUTE, &body_of(&args, false)).await?.body;
    if args.no_wait {
        let text = json!({ "job_id": job_id, "matched": matched }).to_string();
        caller.terminal.line(&if caller.json { text } else { format!("{matched} match, replayed by job {job_id}") })?;
        return Ok(Exit::Done);
    }
    caller.terminal.note(&format!("{matched} match: replaying as job {job_id}"));
    tokio::select! {
        exit = follow(caller, &job_id, matched) => exit,
        _ = tokio::signal::ctrl_c() => {
            caller.terminal.say(&format!(
                "the replay goes on: `ragq jobs show {job_id}` tells how far it is, `ragq jobs cancel {job_id}` ends it"
            ));
            Ok(Exit::Interrupted)
        }
    }
}

async fn matching(caller: &Caller, args: &ReplayArgs) -> Result<Reply<Matched>, CliError> {
    Ok(caller.client.admin_post(ROUTE, &body_of(args, true)).await?)
}

fn body_of(args: &ReplayArgs, dry_run: bool) -> Value {
    let fields = [
        ("reason", args.filter.reason.map(|reason| json!(reason))),
        ("code", args.filter.code.map(|code| json!(code))),
        ("kind", args.filter.kind.map(|kind| json!(kind))),
        ("ids", (!args.ids.is_empty()).then(|| json!(args.ids))),
        ("limit", args.limit.map(|limit| json!(limit))),
        ("rate_per_second", args.rate.map(|rate| json!(rate))),
        ("dry_run", dry_run.then_some(json!(true))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Shows how far the replay is until it has ended.
async fn follow(caller: &Caller, job_id: &str, matched: u64) -> Result<Exit, CliError> {
    let target = if caller.terminal.stderr && !caller.json {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(matched), target);
    if let Ok(style) = ProgressStyle::with_template("replaying [{bar:30}] {pos}/{len} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let tell = |why: &str, _: Duration| caller.terminal.note(&format!("{why}: asking again"));
    let patience = || Patience::new(AWAY, &tell).outlasting_restarts(true);
    let mut left = patience();
    loop {
        match caller.client.operators_job(job_id).await {
            Ok(reply) if reply.body.is_final() => {
                bar.finish_and_clear();
                return finish(caller, &reply);
            }
            Ok(reply) => {
                left = patience();
                let progress = reply.body.progress.unwrap_or_default();
                bar.set_position(progress.replayed);
                bar.set_message(format!("{} failed again", progress.failed_again));
                sleep(LOOK_EVERY).await;
            }
            Err(error) => left.endure(error).await?,
        }
    }
}

fn finish(caller: &Caller, reply: &Reply<Job>) -> Result<Exit, CliError> {
    let job = &reply.body;
    let stopped = job.result.as_ref().and_then(|result| result.get("stopped")).and_then(Value::as_str);
    if caller.json {
        caller.terminal.line(&reply.raw)?;
    } else {
        let ReplayProgress { matched, replayed, skipped, failed_again } = job.progress.unwrap_or_default();
        let mut text = format!("{replayed} of {matched} replayed");
        if skipped > 0 {
            text += &format!(", {skipped} were not dead any more");
        }
        if failed_again > 0 {
            text += &format!(", {failed_again} failed again");
        }
        text += match stopped {
            Some(word) if word == Stopped::SameCauseReturned.as_str() => "; stopped: the same cause returned",
            Some(_) => "; it was called off",
            None => "",
        };
        if let Some(error) = &job.error {
            text += &format!("; the replay is {}: {}", job.status, error.message);
        }
        caller.terminal.line(&text)?;
    }
    Ok(match (job.is(Status::Completed), stopped) {
        (true, None) => Exit::Done,
        (true, Some(_)) => Exit::PartlyFailed,
        (false, _) => Exit::Failed,
    })
}

/// Replays one letter, as it was or with another payload.
async fn one(caller: &Caller, id: &str, payload: Option<&Path>) -> Result<Exit, CliError> {
    let body = match payload {
        None => json!({}),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| CliError::Unreadable { path: path.display().to_string(), error })?;
            let payload: Value = serde_json::from_str(&text)
                .map_err(|error| CliError::Usage(format!("{} is not JSON: {error}", path.display())))?;
            json!({ "payload": payload })
        }
    };
    let path = format!("/admin/dlq/{}/replay", segment(id));
    let reply: Result<Reply<Value>, ClientError> = caller.client.admin_post(&path, &body).await;
    let reply = reply?;
    caller.terminal.line(if caller.json { &reply.raw } else { "1 of 1 replayed" })?;
    Ok(Exit::Done)
}
