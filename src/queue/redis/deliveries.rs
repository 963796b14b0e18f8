//! What workers need: beat, fetch, keep, finish, release. Every step under a lease is fenced by its script: only
//! the job's present lease is let through.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue as _, Value as RedisValue};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BACKOFF, RedisJobStore, Shared,
    announcements::Subscription,
    batch::Batch,
    error::CallError,
    link::Confirm,
    millis,
    record::{self, Header},
    scripts, to_json,
};
use crate::{
    domain::{
        answer::{Citation, Context, Turn},
        clock::Timestamp,
        document::DocumentCommit,
        ids::{JobId, Lease, Tenant, WorkerId},
        job::{Delivery, Kind, Status},
        spent::UsageTotal,
    },
    queue::{Deliveries, Fenced, Finish, Release, Result, Watch, WorkerInfo, history::Span},
};

/// Jobs settled, or pieces written, by one script call.
const TOGETHER: usize = 128;

/// Jobs handed over by one fetch at most: it must stay short.
const FETCHED: usize = 256;

/// Jobs handed back by one step of leaving.
const HANDED_BACK: usize = 100;

/// The number of one worker's next fetch of one sort, held while it is asked for.
type Number = Arc<tokio::sync::Mutex<FetchNumber>>;

/// The number of the next fetch of one worker and [`Wanted`]. It rises only when an answer has come: until then the
/// fetch is the same one, and hands over the same jobs.
#[derive(Debug, Default)]
struct FetchNumber {
    next: u64,
    unanswered: bool,
}

/// What a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    All(Kind),
    Deletions,
}

impl Wanted {
    const fn kind(self) -> Kind {
        match self {
            Self::All(kind) => kind,
            Self::Deletions => Kind::Ingest,
        }
    }
}

/// What this process knows of its workers.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    numbers: Mutex<HashMap<(WorkerId, Wanted), Number>>,
    heard: Mutex<HashMap<WorkerId, Subscription>>,
    /// The leases whose settlement was asked for and not answered: it may have been carried out.
    unsettled: Mutex<HashSet<Lease>>,
}

impl Fetches {
    fn unsettled(&self) -> MutexGuard<'_, HashSet<Lease>> {
        // Nothing panics while the lock is held.
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self, worker: &WorkerId, wanted: Wanted) -> Number {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.entry((worker.clone(), wanted)).or_default().clone()
    }

    fn forget(&self, worker: &WorkerId) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| known != worker);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(worker);
        self.unsettled().retain(|lease| lease.worker != *worker);
    }
}

#[derive(Debug)]
pub(super) struct FinishRequest {
    lease: Lease,
    sent_before: bool,
    finish: Finish,
    cost: UsageTotal,
}

#[derive(Debug)]
pub(super) struct ReleaseRequest {
    lease: Lease,
    sent_before: bool,
    release: Release,
    cost: UsageTotal,
}

#[derive(Debug)]
pub(super) struct DeltaRequest {
    lease: Lease,
    number: u64,
    text: String,
}

#[async_trait]
impl Deliveries for RedisJobStore {
    async fn heartbeat(&self, worker: &WorkerInfo) -> Result<()> {
        let first = {
            let mut heard = self.fetches.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = heard.len();
            heard.entry(worker.id.clone()).or_insert_with(|| self.announcements.worker(worker.id.as_str()));
            heard.len() > known
        };
        if first {
            // Before it can hold a lease, it hears when it loses one.
            self.announcements.worker_settled(worker.id.as_str()).await;
        }
        let (info, lease) = (to_json(worker), millis(self.shared.options.lease));
        Ok(self
            .shared
            .call(&scripts::HEARTBEAT, Confirm::No, |command| {
                command.arg(worker.id.as_str()).arg(&info).arg(lease);
            })
            .await?)
    }

    async fn fetch(&self, worker: &WorkerId, kind: Kind, max: usize) -> Result<Vec<Delivery>> {
        self.hand_over(worker, Wanted::All(kind), max).await
    }

    async fn fetch_deletions(&self, worker: &WorkerId, max: usize) -> Result<Vec<Delivery>> {
        self.hand_over(worker, Wanted::Deletions, max).await
    }

    async fn wait_for_work(&self, kind: Kind) {
        self.wake.wait(kind).await;
    }

    fn watch_delivery(&self, lease: &Lease) -> Watch {
        // Its worker's own channel says when it is lost.
        self.shared.watchers.watch(lease.job)
    }

    async fn holds(&self, lease: &Lease) -> Result<bool> {
        Ok(self.shared.call(&scripts::HOLDS, Confirm::No, |command| push_lease(command, lease)).await?)
    }

    async fn upload(&self, job: JobId) -> Result<Option<Vec<u8>>> {
        let found: Option<(Vec<u8>,)> = self
            .shared
            .call(&scripts::UPLOAD, Confirm::No, |command| {
                command.arg(job.to_string());
            })
            .await?;
        Ok(found.map(|(bytes,)| bytes))
    }

    async fn save_context(&self, lease: &Lease, context: &Context) -> Result<Fenced> {
        let numbered = context.passages.iter().enumerate();
        let citations: Vec<_> = numbered.map(|(index, passage)| Citation::of(index + 1, passage)).collect();
        let (context, citations) = (to_json(context), to_json(&citations));
        let applied: bool = self
            .shared
            .call(&scripts::KEEP, Confirm::No, |command| {
                push_lease(command, lease);
                command.arg(&context).arg(&citations);
            })
            .await?;
        Ok(self.fenced(lease, applied, Status::Running))
    }

    async fn append_delta(&self, lease: &Lease, text: String) -> Result<Fenced<bool>> {
        let number = self.next_delta.fetch_add(1, Ordering::Relaxed);
        let code = self.deltas.ask(DeltaRequest { lease: lease.clone(), number, text }).await?;
        if code == 0 {
            return Ok(Fenced::Stale);
        }
        self.shared.changed_one(lease.job, Status::Running);
        Ok(Fenced::Applied(code == 2))
    }

    async fn finish(&self, lease: &Lease, finish: Finish, cost: UsageTotal) -> Result<Fenced> {
        let sent_before = self.fetches.unsettled().contains(lease);
        let request = FinishRequest { lease: lease.clone(), sent_before, finish, cost };
        self.settled(lease, self.finishes.ask(request).await)
    }

    async fn release(&self, lease: &Lease, release: Release, cost: UsageTotal) -> Result<Fenced> {
        let sent_before = self.fetches.unsettled().contains(lease);
        let request = ReleaseRequest { lease: lease.clone(), sent_before, release, cost };
        self.settled(lease, self.releases.ask(request).await)
    }

    async fn spend(&self, lease: &Lease, cost: UsageTotal) -> Result<()> {
        let _: bool = self
            .shared
            .call(&scripts::SPEND, Confirm::No, |command| {
                push_lease(command, lease);
                command.arg(cost_of(cost));
            })
            .await?;
        Ok(())
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        loop {
            let (handed_back, changed): (usize, Vec<String>) = self
                .shared
                .call(&scripts::LEAVE, Confirm::No, |command| {
                    command.arg(worker.as_str()).arg(HANDED_BACK);
                })
                .await?;
            self.shared.changed(&changed);
            if handed_back < HANDED_BACK {
                self.fetches.forget(worker);
                return Ok(());
            }
        }
    }

    async fn turns(&self, tenant: &Tenant, conversation_id: &str, limit: usize) -> Result<Vec<Turn>> {
        let newest_first: Vec<Vec<u8>> = self
            .shared
            .call(&scripts::TURNS, Confirm::No, |command| {
                command.arg(tenant.as_str()).arg(conversation_id).arg(limit);
            })
            .await?;
        let turns = newest_first.iter().rev().map(|turn| serde_json::from_slice(turn));
        Ok(turns
            .collect::<Result<_, _>>()
            .map_err(|_| CallError::Answer { script: "turns", detail: "a turn can't be read" })?)
    }
}

impl RedisJobStore {
    async fn hand_over(&self, worker: &WorkerId, wanted: Wanted, max: usize) -> Result<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let kind = wanted.kind();
        let number = self.fetches.number(worker, wanted);
        let mut number = number.lock().await;
        let (sent_before, this) = (number.unanswered, number.next);
        number.unanswered = true;
        let answer: Vec<RedisValue> = self
            .shared
            .call_again(&scripts::FETCH, Confirm::No, sent_before, |command| {
                command.arg(worker.as_str()).arg(kind.as_str()).arg(max.min(FETCHED)).arg(this);
                command.arg(match wanted {
                    Wanted::All(_) => "",
                    Wanted::Deletions => "deletions",
                });
            })
            .await?;
        *number = FetchNumber { next: this + 1, unanswered: false };
        let deliveries = deliveries(answer, worker, kind);
        for delivery in &deliveries {
            self.shared.changed_one(delivery.lease.job, Status::Running);
            self.shared.history.counts.took(kind, Span::Wait, delivery.delivered_at.since(delivery.queued_at));
        }
        Ok(deliveries)
    }

    /// Takes note of whether the settlement of a lease was answered, for the call that makes it again.
    fn settled(&self, lease: &Lease, answer: Result<bool, Arc<CallError>>) -> Result<Fenced> {
        if answer.is_ok() {
            self.fetches.unsettled().remove(lease);
        } else {
            self.fetches.unsettled().insert(lease.clone());
        }
        Ok(if answer? { Fenced::Applied(()) } else { Fenced::Stale })
    }

    fn fenced(&self, lease: &Lease, applied: bool, status: Status) -> Fenced {
        if !applied {
            return Fenced::Stale;
        }
        self.shared.changed_one(lease.job, status);
        Fenced::Applied(())
    }
}

/// As the scripts take it: calls, tokens of prompts, of answers and those that came to nothing; empty without a call.
fn cost_of(cost: UsageTotal) -> String {
    let UsageTotal { calls, prompt_tokens, completion_tokens, wasted_tokens } = cost;
    if calls == 0 { String::new() } else { format!("{calls} {prompt_tokens} {completion_tokens} {wasted_tokens}") }
}

fn push_lease(command: &mut Cmd, lease: &Lease) {
    command.arg(lease.job.to_string()).arg(lease.worker.as_str()).arg(lease.delivery);
}

/// Reads what a fetch handed over. Never fails as a whole: the jobs are handed over by now, and an error would
/// leave all of them running with nobody at work on them. What can't be read is missing, and the worker buries
/// that one job.
fn deliveries(answer: Vec<RedisValue>, worker: &WorkerId, kind: Kind) -> Vec<Delivery> {
    let mut values = answer.into_iter();
    let now = values.next().and_then(|now| i64::from_redis_value(now).ok()).unwrap_or_default();
    let mut deliveries = Vec::with_capacity(values.len() / 7);
    while let Some([id, data, attempt, delivery, deferrals, queued_at, context]) = take(&mut values) {
        let Some(job) = String::from_redis_value(id).ok().and_then(|id| id.parse().ok()) else { continue };
        let data = Vec::<u8>::from_redis_value(data).unwrap_or_default();
        let context = Vec::<u8>::from_redis_value(context).unwrap_or_default();
        let number = |value| u64::from_redis_value(value).unwrap_or(1);
        let (header, payload) = record::split(&data);
        let header = header.and_then(|header| Header::parse(header).ok()).unwrap_or_default();
        deliveries.push(Delivery {
            lease: Lease { job, worker: worker.clone(), delivery: number(delivery) },
            tenant: header.tenant.clone(),
            kind,
            payload: record::payload(payload),
            attempt: number(attempt) as u32,
            max_attempts: header.max_attempts.max(1),
            deferrals: number(deferrals) as u32,
            created_at: Timestamp(header.created_at),
            queued_at: Timestamp(i64::from_redis_value(queued_at).unwrap_or(header.created_at)),
            delivered_at: Timestamp(now),
            remaining: header.deadline_at().map(|deadline| deadline.since(Timestamp(now))),
            // A context of an older form is only work to be done again.
            context: serde_json::from_slice(&context).ok(),
            document: header.document(),
            origin: header.origin(),
            conversation_id: header.conversation_id,
        });
    }
    deliveries
}

/// The next so many values, if there are as many.
fn take<const N: usize>(values: &mut impl Iterator<Item = RedisValue>) -> Option<[RedisValue; N]> {
    values.take(N).collect::<Vec<_>>().try_into().ok()
}

/// Sends finishes.
pub(super) fn finishes(
    tracker: &TaskTracker,
    stop: &CancellationToken,
    shared: &Arc<Shared>,
) -> Batch<FinishRequest, bool> {
    let shared = shared.clone();
    Batch::start(tracker, stop, TOGETHER, move |requests: Arc<Vec<FinishRequest>>, again| {
        let shared = shared.clone();
        async move {
            let (codes, changed): (Vec<bool>, Vec<String>) = shared
                .call_again(&scripts::FINISH, Confirm::Durable, again, |command| {
                    command.arg(requests.len());
                    for request in &*requests {
                        push_lease(command, &request.lease);
                        command.arg(request.sent_before);
                        push_finish(command, &request.finish);
                        command.arg(cost_of(request.cost));
                    }
                })
                .await?;
            shared.changed(&changed);
            one_for_each("finish", &requests, codes)
        }
    })
}

fn push_finish(command: &mut Cmd, finish: &Finish) {
    match finish {
        Finish::Completed { result, document, turn } => {
            command.arg("completed").arg(to_json(result)).arg(turn.as_ref().map(to_json).unwrap_or_default());
            match document {
                None => command.arg("").arg("").arg("").arg(0).arg(0),
                Some(DocumentCommit::Unchanged) => command.arg("unchanged").arg("").arg("").arg(0).arg(0),
                Some(DocumentCommit::Deleted) => command.arg("deleted").arg("").arg("").arg(0).arg(0),
                Some(DocumentCommit::Superseded) => command.arg("superseded").arg("").arg("").arg(0).arg(0),
                Some(DocumentCommit::Replaced { title, made_with, chunks, text_bytes }) => command
                    .arg("replaced")
                    .arg(title)
                    .arg(made_with.as_deref().unwrap_or_default())
                    .arg(*chunks)
                    .arg(*text_bytes),
            };
        }
        Finish::Dead { reason, error } => {
            command.arg("dead").arg(reason.as_str()).arg(error.code.as_str()).arg(to_json(error));
            command.arg("").arg("").arg("").arg("");
        }
    }
}

/// Sends releases.
pub(super) fn releases(
    tracker: &TaskTracker,
    stop: &CancellationToken,
    shared: &Arc<Shared>,
) -> Batch<ReleaseRequest, bool> {
    let shared = shared.clone();
    Batch::start(tracker, stop, TOGETHER, move |requests: Arc<Vec<ReleaseRequest>>, again| {
        let shared = shared.clone();
        async move {
            let (codes, changed): (Vec<bool>, Vec<String>) = shared
                .call_again(&scripts::RELEASE, Confirm::No, again, |command| {
                    command.arg(requests.len());
                    for request in &*requests {
                        push_lease(command, &request.lease);
                        command.arg(request.sent_before);
                        match &request.release {
                            Release::Retry { after, error } => {
                                command.arg("retry").arg(millis(*after)).arg(error.code.as_str()).arg(to_json(error))
                            }
                            Release::Defer { after, error } => {
                                command.arg("defer").arg(millis(*after)).arg(error.code.as_str()).arg(to_json(error))
                            }
                            Release::HandBack => command.arg("hand_back").arg(0).arg("").arg(""),
                        };
                        command.arg(cost_of(request.cost));
                    }
                })
                .await?;
            shared.changed(&changed);
            one_for_each("release", &requests, codes)
        }
    })
}

/// Sends pieces of answers, however long the server is away: given up, they would take with them an answer that is
/// half there and paid for. A piece that is sent again is known by its number.
pub(super) fn deltas(tracker: &TaskTracker, stop: &CancellationToken, shared: &Arc<Shared>) -> Batch<DeltaRequest, u8> {
    let shared = shared.clone();
    Batch::start(tracker, stop, TOGETHER, move |requests: Arc<Vec<DeltaRequest>>, again| {
        let shared = shared.clone();
        async move {
            let mut failures = 0;
            let codes = loop {
                match write_deltas(&shared, &requests, again).await {
                    Err(error) if error.passes() => {
                        failures += 1;
                        tokio::time::sleep(BACKOFF.wait(failures)).await;
                    }
                    written => break written?,
                }
            };
            one_for_each("delta", &requests, codes)
        }
    })
}

async fn write_deltas(shared: &Shared, requests: &[DeltaRequest], again: bool) -> Result<Vec<u8>, CallError> {
    let pieces = |command: &mut Cmd| {
        command.arg(requests.len());
        for request in requests {
            push_lease(command, &request.lease);
            command.arg(request.number).arg(to_json(&request.text));
        }
    };
    shared.call_again(&scripts::DELTA, Confirm::No, again, pieces).await
}

fn one_for_each<Q, A>(script: &'static str, requests: &[Q], answers: Vec<A>) -> Result<Vec<A>, CallError> {
    if answers.len() == requests.len() {
        Ok(answers)
    } else {
        Err(CallError::Answer { script, detail: "not one answer for each request" })
    }
}
