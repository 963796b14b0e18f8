//! What operators need: figures, pause and resume, dead letters.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;
use ulid::Ulid;

use super::{
    RedisJobStore,
    error::CallError,
    history,
    link::{Confirm, Info},
    record::{self, Header, Meta},
    scripts, to_json,
};
use crate::{
    domain::{
        audit::{AuditEntry, AuditNote},
        clock::Timestamp,
        failure::Code,
        ids::JobId,
        job::{AttemptRecord, DeadLetter, DeadReason, JobError, Kind, Status},
    },
    queue::{
        CancelStep, CancelTally, Condition, DeadCursor, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, KindStats,
        Operations, Page, QueueStats, Replay, Result, WorkerInfo, WorkerView, history::StoredInterval,
    },
};

/// Jobs looked at by one script call at most: it must stay short. A page of 100, and the one that tells of
/// another page.
const MOST: usize = 101;

/// What `stats.lua` returns.
type Stats = (
    i64,
    (u64, u64, u64, u64),
    u64,
    [(u64, u64, u64, i64); 3],
    Vec<String>,
    Vec<(u64, String)>,
    Vec<(String, u64)>,
    String,
);

#[async_trait]
impl Operations for RedisJobStore {
    async fn stats(&self) -> Result<QueueStats> {
        let (now, (scheduled, completed, dead, cancelled), due, of_kinds, paused, workers, causes, info): Stats =
            self.shared.call(&scripts::STATS, Confirm::No, |_| ()).await?;
        let causes: Vec<Cause> = causes.into_iter().filter_map(|(name, count)| Cause::parse(name, count)).collect();
        let kinds: HashMap<Kind, KindStats> = Kind::ALL
            .iter()
            .zip(of_kinds)
            .map(|(kind, figures)| (*kind, kind_stats(*kind, figures, now, &causes)))
            .collect();
        let queued = kinds.values().map(|kind| kind.queued).sum();
        let running = kinds.values().map(|kind| kind.running).sum();
        let letters = |reason: &DeadReason| {
            (*reason, causes.iter().filter(|cause| cause.reason == *reason).map(|cause| cause.count).sum())
        };
        let workers = workers.into_iter().filter_map(|(running, info)| {
            let (last_heartbeat_at, info) = info.split_once(' ')?;
            let info = serde_json::from_str::<WorkerInfo>(info).ok().filter(WorkerInfo::is_for_callers)?;
            Some(WorkerView { info, running, last_heartbeat_at: Timestamp(last_heartbeat_at.parse().ok()?) })
        });
        let counts = Status::ALL.iter().map(|status| {
            let count = match status {
                Status::Queued => queued,
                Status::Scheduled => scheduled,
                Status::Running => running,
                Status::Completed => completed,
                Status::Dead => dead,
                Status::Cancelled => cancelled,
            };
            (*status, count)
        });
        Ok(QueueStats {
            counts: counts.collect(),
            backlog: queued + due,
            running,
            oldest_queued_age_ms: kinds.values().filter_map(|kind| kind.oldest_queued_age_ms).max(),
            paused: Kind::ALL.iter().filter(|kind| paused.iter().any(|word| word == kind.as_str())).copied().collect(),
            workers: workers.collect(),
            dead: DeadReason::ALL.iter().map(letters).collect(),
            kinds,
            condition: condition(&Info::parse(&info)),
        })
    }

    async fn pause(&self, kinds: &[Kind]) -> Result<()> {
        self.set_paused("pause", kinds).await
    }

    async fn resume(&self, kinds: &[Kind]) -> Result<()> {
        self.set_paused("resume", kinds).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        let mut before = cursor.and_then(DeadCursor::parse);
        let sets = if *filter == DeadLetterFilter::default() {
            vec![String::new()]
        } else {
            self.causes().await?.into_iter().filter(|cause| cause.fits(filter)).map(|cause| cause.name).collect()
        };
        if sets.is_empty() {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        }
        let cursor_of = |letter: &DeadLetter| DeadCursor { at: letter.dead_at.0, id: letter.job_id };
        let (wanted, mut letters) = (limit.saturating_add(1), Vec::new());
        while letters.len() < wanted {
            let found: Vec<(String, Vec<u8>, HashMap<String, String>)> = self
                .shared
                .call(&scripts::DEAD_LETTERS, Confirm::No, |command| {
                    match &before {
                        Some(cursor) => command.arg(cursor.at).arg(cursor.id.to_string()),
                        None => command.arg("").arg(""),
                    };
                    command.arg(MOST.min(wanted - letters.len())).arg(&sets);
                })
                .await?;
            if found.is_empty() {
                break;
            }
            for (id, header, meta) in found {
                letters.push(letter(&id, &header, meta)?);
            }
            before = letters.last().map(cursor_of);
        }
        Ok(Page::cut(letters, limit, |letter| cursor_of(letter).to_string()))
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>> {
        let mut counts = HashMap::new();
        for cause in self.causes().await?.into_iter().filter(|cause| cause.fits(filter)) {
            *counts.entry((cause.reason, cause.code)).or_default() += cause.count;
        }
        let mut groups: Vec<_> =
            counts.into_iter().map(|((reason, code), count)| DeadLetterGroup { reason, code, count }).collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.reason.as_str(), group.code.as_str()));
        Ok(groups)
    }

    async fn dead_letter(&self, id: JobId) -> Result<Option<DeadLetterDetail>> {
        let found: Option<(Vec<u8>, HashMap<String, String>, Vec<Vec<u8>>)> = self
            .shared
            .call(&scripts::DEAD_LETTER, Confirm::No, |command| {
                command.arg(id.to_string());
            })
            .await?;
        let Some((data, meta, attempts)) = found else { return Ok(None) };
        let (header, payload) = record::split(&data);
        let header = header.unwrap_or_default();
        let request_id = Header::parse(header)?.origin().request_id(id).into_owned();
        let letter = letter(&id.to_string(), header, meta)?;
        let attempts = attempts.iter().map(|attempt| attempt_record(attempt)).collect::<Option<_>>();
        let (payload, attempts) = (record::payload(payload), attempts.ok_or(DAMAGED)?);
        Ok(Some(DeadLetterDetail { letter, request_id, payload, attempts }))
    }

    async fn replay(&self, id: JobId, payload: Option<Value>) -> Result<Replay> {
        let payload = payload.as_ref().map(to_json);
        let (replayed, changed): (bool, Vec<String>) = self
            .shared
            .call(&scripts::REPLAY, Confirm::Durable, |command| {
                command.arg(id.to_string()).arg(payload.is_some()).arg(payload.as_deref().unwrap_or_default());
            })
            .await?;
        self.shared.changed(&changed);
        Ok(if replayed { Replay::Replayed } else { Replay::NotDead })
    }

    async fn discard(&self, id: JobId) -> Result<bool> {
        let discarded: bool = self
            .shared
            .call(&scripts::DISCARD, Confirm::No, |command| {
                command.arg(id.to_string());
            })
            .await?;
        if discarded {
            self.shared.changed_one(id, Status::Dead);
        }
        Ok(discarded)
    }

    async fn cancel_some(&self, kind: Kind, status: Status, step: CancelStep) -> Result<CancelTally> {
        let this = Ulid::from_parts(0, rand::random()).to_string();
        let (seen, matched, cancelled, changed): (usize, usize, usize, Vec<String>) = self
            .shared
            .call(&scripts::CANCEL_SOME, Confirm::No, |command| {
                command.arg(&this).arg(kind.as_str()).arg(status.as_str());
                command.arg(step.skip).arg(step.max.min(MOST)).arg(step.dry_run);
            })
            .await?;
        self.shared.changed(&changed);
        Ok(CancelTally { seen, matched, cancelled })
    }

    async fn note(&self, note: &AuditNote) -> Result<()> {
        let (key, json) = (note.key().unwrap_or_default(), to_json(note));
        Ok(self
            .shared
            .call(&scripts::NOTE, Confirm::Durable, |command| {
                command.arg(&key).arg(&json);
            })
            .await?)
    }

    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<Page<AuditEntry>> {
        let before = cursor.and_then(|cursor| cursor.parse::<u64>().ok());
        let found: Vec<String> = self
            .shared
            .call(&scripts::AUDIT, Confirm::No, |command| {
                match before {
                    Some(before) => command.arg(before),
                    None => command.arg(""),
                };
                command.arg(limit.saturating_add(1));
            })
            .await?;
        let entries = found.iter().map(|entry| audit_entry(entry)).collect::<Option<Vec<_>>>();
        let entries = entries.ok_or(CallError::Answer { script: "audit", detail: "an entry can't be read" })?;
        let Page { items, next_cursor } = Page::cut(entries, limit, |(number, _)| number.to_string());
        Ok(Page { items: items.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
    }

    async fn history(&self, minutes: u64) -> Result<Vec<StoredInterval>> {
        Ok(history::read(&self.shared, minutes).await?)
    }
}

fn condition(info: &Info) -> Condition {
    Condition {
        used_bytes: info.number("used_memory"),
        limit_bytes: info.number("maxmemory").filter(|limit| *limit > 0),
        append_only: info.field("aof_enabled").map(|enabled| enabled == "1"),
        append_works: info.field("aof_last_write_status").map(|status| status == "ok"),
        keeps_all: info.field("maxmemory_policy").map(|policy| policy == "noeviction"),
    }
}

/// The figures of one kind: how many are queued, scheduled, running, and since when the oldest waits.
fn kind_stats(
    kind: Kind,
    (queued, scheduled, running, oldest): (u64, u64, u64, i64),
    now: i64,
    causes: &[Cause],
) -> KindStats {
    let dead = causes.iter().filter(|cause| cause.kind == kind).map(|cause| cause.count).sum();
    let oldest_queued_age_ms = u64::try_from(oldest).ok().map(|since| (now as u64).saturating_sub(since));
    KindStats { queued, scheduled, running, dead, oldest_queued_age_ms }
}

const DAMAGED: CallError = CallError::Answer { script: "a dead letter", detail: "its record can't be read" };

/// Dead letters that share kind, reason and code.
struct Cause {
    name: String,
    reason: DeadReason,
    code: Code,
    /// Whether the code is in the store by this word, not one that a newer version wrote.
    known: bool,
    kind: Kind,
    count: u64,
}

impl Cause {
    fn parse(name: String, count: u64) -> Option<Self> {
        let mut words = name.split(':');
        let (reason, word) = (words.next()?.parse().ok()?, words.next()?);
        let code = Code::stored(word);
        let known = code.as_str() == word;
        let kind = words.next()?.parse().ok()?;
        Some(Self { name, reason, code, known, kind, count })
    }

    fn fits(&self, filter: &DeadLetterFilter) -> bool {
        filter.reason.is_none_or(|reason| reason == self.reason)
            && filter.code.is_none_or(|code| code == self.code && self.known)
            && filter.kind.is_none_or(|kind| kind == self.kind)
    }
}

impl RedisJobStore {
    async fn causes(&self) -> Result<Vec<Cause>, CallError> {
        let causes: Vec<(String, u64)> = self.shared.call(&scripts::CAUSES, Confirm::No, |_| ()).await?;
        Ok(causes.into_iter().filter_map(|(name, count)| Cause::parse(name, count)).collect())
    }

    async fn set_paused(&self, verb: &str, kinds: &[Kind]) -> Result<()> {
        Ok(self
            .shared
            .call(&scripts::PAUSE, Confirm::Durable, |command| {
                command.arg(verb);
                for kind in kinds {
                    command.arg(kind.as_str());
                }
            })
            .await?)
    }
}

fn letter(id: &str, header: &[u8], meta: HashMap<String, String>) -> Result<DeadLetter, CallError> {
    let id = id.parse().map_err(|_| DAMAGED)?;
    record::dead_letter(id, &Header::parse(header)?, &Meta::from(meta)).ok_or(DAMAGED)
}

/// Reads an entry of the audit log, with its number.
fn audit_entry(text: &str) -> Option<(u64, AuditEntry)> {
    let mut parts = text.splitn(3, ' ');
    let (number, at) = (parts.next()?.parse().ok()?, Timestamp(parts.next()?.parse().ok()?));
    Some((number, AuditEntry { at, note: serde_json::from_str(parts.next()?).ok()? }))
}

/// Reads an attempt as `note_attempt` of `lua/job.lua` writes it.
fn attempt_record(json: &[u8]) -> Option<AttemptRecord> {
    let (delivery, attempt, started_at, ended_at, outcome, worker, error, retry_at): (
        u64,
        u32,
        i64,
        i64,
        _,
        String,
        String,
        i64,
    ) = serde_json::from_slice(json).ok()?;
    let error = match error.as_str() {
        "" => None,
        json => {
            let error: JobError = serde_json::from_str(json).ok()?;
            Some(JobError { retry_at: (retry_at > 0).then_some(Timestamp(retry_at)), ..error })
        }
    };
    Some(AttemptRecord {
        attempt,
        delivery,
        worker: worker.into(),
        started_at: Timestamp(started_at),
        ended_at: Timestamp(ended_at),
        outcome,
        error,
    })
}
