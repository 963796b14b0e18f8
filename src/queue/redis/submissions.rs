//! What callers of the API need: submit, look, cancel, read along.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::Cmd;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RedisJobStore, Shared,
    batch::Batch,
    error::CallError,
    link::Confirm,
    millis,
    record::{self, Header, Meta},
    scripts, to_json,
};
use crate::{
    domain::{
        clock::Timestamp,
        document::Change,
        event::{EventKind, EventPage, JobEvent},
        ids::{JobId, Tenant, WorkerId},
        job::{JobError, JobView, NewJob, Priority, Status, Submitted},
        replay::ReplayTally,
    },
    queue::{Cancellation, Result, Submissions, Watch, history::Flow, share},
};

/// Jobs stored by one script call.
const TOGETHER: usize = 128;

/// How long an upload is kept whose submit does not follow.
const ORPHANED_UPLOAD: Duration = Duration::from_mins(10);

/// How long a reader's mark on a log holds: more than two rounds of a worker that writes every second because
/// nobody reads.
const MARK_HOLDS: Duration = Duration::from_millis(2_500);

#[async_trait]
impl Submissions for RedisJobStore {
    async fn submit(&self, mut job: NewJob) -> Result<Submitted> {
        // Ahead, so that the submit that others share stays small; it expires unless the submit keeps it.
        if let Some(document) = &mut job.document
            && !document.upload.is_empty()
        {
            let upload = &document.upload;
            let stored = self.shared.call::<()>(&scripts::STORE_UPLOAD, Confirm::No, |command| {
                command.arg(job.id.to_string()).arg(upload).arg(ORPHANED_UPLOAD.as_secs());
            });
            match stored.await {
                Ok(()) => {}
                Err(error) if error.is_out_of_memory() => return Ok(full_memory()),
                Err(error) => return Err(error.into()),
            }
        }
        match self.submits.ask(job).await {
            Ok(submitted) => Ok(submitted),
            Err(error) if error.is_out_of_memory() => Ok(full_memory()),
            Err(error) => Err(error.into()),
        }
    }

    async fn job(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>> {
        self.announcements.settled(id).await;
        Ok(view(&self.shared, tenant, id).await?)
    }

    async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<Option<Cancellation>> {
        let changed: Vec<String> = self
            .shared
            .call(&scripts::CANCEL, Confirm::No, |command| {
                command.arg(id.to_string()).arg(tenant.as_str());
            })
            .await?;
        self.shared.changed(&changed);
        let job = view(&self.shared, tenant, id).await?;
        Ok(job.map(|job| Cancellation { applied: !changed.is_empty(), job }))
    }

    fn watch(&self, id: JobId) -> Watch {
        self.announcements.watch(&self.shared, id)
    }

    async fn events(&self, tenant: &Tenant, id: JobId, after: Option<u64>, limit: usize) -> Result<Option<EventPage>> {
        self.announcements.settled(id).await;
        Ok(events(&self.shared, tenant, id, after, limit).await?)
    }
}

/// The server's memory is full: nobody can say for how long.
fn full_memory() -> Submitted {
    tracing::warn!("the queue's server is out of memory, a submit was refused");
    Submitted::QueueFull { retry_after: share::LONGEST_RETRY_AFTER }
}

/// Sends submits.
pub(super) fn batch(tracker: &TaskTracker, stop: &CancellationToken, shared: &Arc<Shared>) -> Batch<NewJob, Submitted> {
    let shared = shared.clone();
    Batch::start(tracker, stop, TOGETHER, move |jobs: Arc<Vec<NewJob>>, again| {
        let shared = shared.clone();
        async move { submit(&shared, &jobs, again).await }
    })
}

async fn submit(shared: &Shared, jobs: &[NewJob], again: bool) -> Result<Vec<Submitted>, CallError> {
    let options = &shared.options;
    let answers: Vec<String> = shared
        .call_again(&scripts::SUBMIT, Confirm::Durable, again, |command| {
            command.arg(options.max_jobs).arg(options.max_bytes).arg(jobs.len());
            for job in jobs {
                push(command, job);
            }
        })
        .await?;
    if answers.len() != 2 * jobs.len() {
        return Err(CallError::Answer { script: "submit", detail: "not one answer for each job" });
    }
    let submitted = jobs.iter().zip(answers.chunks_exact(2)).map(|(job, answer)| match answer[0].as_str() {
        "accepted" => {
            shared.history.counts.count(job.kind, Flow::Submitted);
            Ok(Submitted::Accepted(job.id))
        }
        "mismatch" => Ok(Submitted::IdempotencyMismatch),
        "full" => {
            let per_second = answer[1].parse().unwrap_or(0.0);
            Ok(Submitted::QueueFull { retry_after: share::retry_after(per_second, options.max_jobs) })
        }
        "replayed" => match answer[1].parse() {
            Ok(first) => Ok(Submitted::Replayed(first)),
            Err(_) => Err(CallError::Answer { script: "submit", detail: "the first job of a key has no id" }),
        },
        _ => Err(CallError::Answer { script: "submit", detail: "an unknown word" }),
    });
    submitted.collect()
}

fn push(command: &mut Cmd, job: &NewJob) {
    let payload = to_json(&job.payload);
    let header = to_json(&Header::of(job));
    let uploaded = job.document.as_ref().map_or(0, |document| document.upload.len());
    command
        .arg(job.id.to_string())
        .arg(job.tenant.as_str())
        .arg(job.kind.as_str())
        .arg(job.priority.as_str())
        .arg(payload.len() + uploaded)
        .arg(job.delay.map_or(0, millis));
    match job.deadline {
        Some(deadline) => command.arg(millis(deadline)),
        None => command.arg(""),
    };
    match &job.idempotency {
        Some(idempotency) => command.arg(&idempotency.key).arg(&idempotency.fingerprint),
        None => command.arg("").arg(""),
    };
    // The script writes what it adds before the rest.
    command.arg(header.strip_prefix('{').unwrap_or(&header)).arg(payload);
    let Some(document) = &job.document else {
        command.arg(0);
        return;
    };
    let change = match document.change {
        Change::Put => "put",
        Change::Delete => "delete",
    };
    command
        .arg(1)
        .arg(document.document_id.as_str())
        .arg(change)
        .arg(document.collection.as_str())
        .arg(&document.title)
        .arg(document.source.as_deref().unwrap_or_default());
}

/// Status, length of the log, result, entries.
type EventsAnswer = (String, u64, Vec<u8>, Vec<Vec<u8>>);

/// Header, record, result, the position's parts, and a replay's.
type ViewAnswer = (Vec<u8>, HashMap<String, String>, Vec<u8>, (i64, u64, u64, u64), Vec<Option<u64>>);

async fn view(shared: &Shared, tenant: &Tenant, id: JobId) -> Result<Option<JobView>, CallError> {
    let found: Option<ViewAnswer> = shared
        .call(&scripts::VIEW, Confirm::No, |command| {
            command.arg(id.to_string()).arg(tenant.as_str());
        })
        .await?;
    let Some((header, meta, result, (rank, high, normal, low), replay)) = found else { return Ok(None) };
    // One that another producer pushed has no record until it is due.
    let (header, foreign) = match header.as_slice() {
        [] => (Header::default(), true),
        json => (Header::parse(json)?, false),
    };
    let result = (!result.is_empty()).then_some(result.as_slice());
    let mut view = record::job_view(id, &header, &Meta::from(meta), result);
    if foreign {
        view.status = Status::Scheduled;
    }
    if rank >= 0 {
        let waiting = |priority| match priority {
            Priority::High => high,
            Priority::Normal => normal,
            Priority::Low => low,
        };
        view.position = share::position(rank as u64, header.priority(), waiting);
    }
    if let [Some(matched), replayed, ended, failed_again, exhausted] = replay[..] {
        let [replayed, ended, failed_again] = [replayed, ended, failed_again].map(Option::unwrap_or_default);
        let exhausted = exhausted == Some(1);
        view = view.with_tally(&ReplayTally {
            matched,
            replayed,
            ended,
            failed_again,
            exhausted,
            ..ReplayTally::default()
        });
    }
    Ok(Some(view))
}

async fn events(
    shared: &Shared,
    tenant: &Tenant,
    id: JobId,
    after: Option<u64>,
    limit: usize,
) -> Result<Option<EventPage>, CallError> {
    let mut events = Vec::new();
    if after.is_none() && limit > 0 {
        events.push(JobEvent { seq: 0, attempt: 0, kind: EventKind::Created {} });
    }
    // Number 0 is derived from the record: the log's first entry is number 1.
    let from = after.unwrap_or(0).min(i64::MAX as u64 / 2);
    let room = limit - events.len();
    let found: Option<EventsAnswer> = shared
        .call(&scripts::EVENTS, Confirm::No, |command| {
            command.arg(id.to_string()).arg(tenant.as_str()).arg(from).arg(room).arg(millis(MARK_HOLDS));
        })
        .await?;
    let Some((status, length, result, entries)) = found else { return Ok(None) };
    let status: Status =
        status.parse().map_err(|_| CallError::Answer { script: "events", detail: "an unknown status" })?;
    for (seq, entry) in (from + 1..).zip(entries) {
        let (attempt, kind) = event(&entry, &result)
            .ok_or(CallError::Answer { script: "events", detail: "an entry of the log can't be read" })?;
        events.push(JobEvent { seq, attempt, kind });
    }
    let read_to = events.last().map(|event| event.seq).or(after);
    let ended = status.is_final() && read_to.is_some_and(|read_to| read_to >= length);
    Ok(Some(EventPage { events, ended }))
}

/// Reads an entry of the log: `ATTEMPT NAME`, and what belongs to the name.
fn event(entry: &[u8], result: &[u8]) -> Option<(u32, EventKind)> {
    let entry = std::str::from_utf8(entry).ok()?;
    let mut words = entry.splitn(3, ' ');
    let attempt = words.next()?.parse().ok()?;
    let (name, rest) = (words.next()?, words.next().unwrap_or_default());
    let waits = || {
        let (retry_at, error) = rest.split_once(' ')?;
        let error: JobError = serde_json::from_str(error).ok()?;
        Some((error.code, error.message, Timestamp(retry_at.parse().ok()?)))
    };
    let kind = match name {
        "started" => EventKind::Started { worker: WorkerId::from(rest) },
        "passages" => EventKind::Passages { citations: serde_json::from_str(rest).ok()? },
        "delta" => EventKind::Delta { text: serde_json::from_str(rest.split_once(' ')?.1).ok()? },
        "deferred" => {
            let (code, message, retry_at) = waits()?;
            EventKind::Deferred { code, message, retry_at }
        }
        "retrying" => {
            let (code, message, retry_at) = waits()?;
            EventKind::Retrying { code, message, retry_at }
        }
        "completed" => EventKind::Completed { result: serde_json::from_slice(result).unwrap_or(Value::Null) },
        "dead" => EventKind::Dead { error: serde_json::from_str(rest).ok()? },
        "progress" => EventKind::Progress { progress: serde_json::from_str(rest).ok()? },
        "cancelled" => EventKind::Cancelled {},
        "replayed" => EventKind::Replayed {},
        _ => EventKind::Unknown,
    };
    Some((attempt, kind))
}
