//! `ragq jobs`: one job's state, and calling jobs off.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Caller,
    args::JobsCommand,
    ask,
    client::{ClientError, Reply, wire::Job},
    error::CliError,
    exit::Exit,
};
use crate::domain::job::Status;

pub(super) async fn run(caller: Caller, command: JobsCommand) -> Result<Exit, CliError> {
    match command {
        JobsCommand::Show { id } => show(&caller, &id).await,
        JobsCommand::Cancel { ids } => cancel(&caller, &ids).await,
    }
}

async fn show(caller: &Caller, id: &str) -> Result<Exit, CliError> {
    let mut found = caller.client.job(id, Duration::ZERO).await;
    if is_not_the_callers(caller, &found) {
        found = caller.client.operators_job(id).await;
    }
    let reply = found?;
    if caller.json {
        caller.terminal.line(&reply.raw)?;
        return Ok(Exit::Done);
    }
    caller.terminal.line(&describe(&reply.body))?;
    if let Some(answer) = ask::answer_of(&reply.body) {
        caller.terminal.line("")?;
        ask::print_answer(caller.terminal, &answer)?;
    } else if let Some(result) = &reply.body.result {
        caller.terminal.line(&format!("result    {result}"))?;
    }
    Ok(Exit::Done)
}

/// Whether the job may be one of the operator's: a replay.
fn is_not_the_callers(caller: &Caller, found: &Result<Reply<Job>, ClientError>) -> bool {
    let status = found.as_ref().err().and_then(ClientError::status);
    caller.client.has_admin_token() && matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED))
}

/// The job's state and counters, one fact a line.
fn describe(job: &Job) -> String {
    let position = job.position.map_or_else(String::new, |position| format!(", {position} before it"));
    let mut lines = vec![
        format!("{} {} {}{position}", job.kind, job.job_id, job.status),
        format!("attempt   {} of {}", job.attempt, job.max_attempts),
        format!(
            "history   {} deliveries, {} lost leases, {} deferrals",
            job.deliveries, job.lost_leases, job.deferrals
        ),
    ];
    let times = [("created", job.created_at), ("started", job.started_at), ("finished", job.finished_at)];
    lines.extend(times.into_iter().filter_map(|(name, time)| Some(format!("{name:<9} {}", time?))));
    if let Some(progress) = &job.progress {
        lines.push(format!(
            "progress  {} of {} replayed, {} skipped, {} failed again",
            progress.replayed, progress.matched, progress.skipped, progress.failed_again
        ));
    }
    if let Some(error) = &job.error {
        let goes_on = error.retry_at.map_or_else(String::new, |at| format!(", goes on at {at}"));
        lines.push(format!("error     {}: {} ({}){goes_on}", error.code, error.message, error.class));
    }
    lines.join("\n")
}

async fn cancel(caller: &Caller, ids: &[String]) -> Result<Exit, CliError> {
    let (mut done, mut failed) = (0, 0);
    let mut items: Vec<Value> = Vec::new();
    for id in ids {
        let mut cancelled = caller.client.cancel(id).await;
        if is_not_the_callers(caller, &cancelled) {
            cancelled = caller.client.cancel_operators(id).await;
        }
        match cancelled {
            Ok(reply) => {
                // A job that was final before is what it is: nothing was called off.
                if reply.body.is(Status::Cancelled) {
                    done += 1;
                } else {
                    failed += 1;
                }
                if caller.json {
                    items.push(serde_json::from_str(&reply.raw).unwrap_or_default());
                } else {
                    caller.terminal.line(&format!("{id} {}", reply.body.status))?;
                }
            }
            Err(ClientError::Refused(problem)) if ids.len() > 1 && problem.is_about_this_one() => {
                failed += 1;
                items.push(json!({"job_id": id, "error": problem.summary()}));
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
