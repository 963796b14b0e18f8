//! Every metric there is: name, kind, labels, unit, help. Nothing is exported that does not stand here.
//!
//! [`Process`] is what one process counts of itself, present in every role. [`Deployment`] is what the shared job
//! store says; every replica of the API exports it, and the same of each, so that readers take the maximum.

use metrics::{Counter, Gauge, Recorder, Unit};

use super::{
    family::{Declared, Family, Form, Labels, Long, Sets, Short},
    words::{
        AttemptClass, BreakerState, CallOutcome, Danger, Depth, Fate, IngestStage, Kept, Operation, Outcome, Provider,
        Refusal, RetrievalStage, Route, SearchMode, Side, SpanFate, StatusClass, StoreOperation, Version,
    },
};
use crate::domain::{
    failure::Code,
    job::{DeadReason, Kind},
};

macro_rules! table {
    (
        $(#[$doc:meta])* $table:ident
        $(#[doc = $help:literal] $field:ident: $form:ident, $name:literal, $unit:ident, [$($label:literal: $set:ty),*];)*
    ) => {
        $(#[$doc])*
        pub struct $table {
            $(#[doc = $help] pub(super) $field: Family<($($set,)*), $form>,)*
        }

        impl $table {
            /// All of them.
            pub const DECLARED: &'static [Declared] =
                &[$(table!(declared $help, $form, $name, $unit, [$($label: $set),*])),*];

            /// Makes every series, at zero.
            pub(super) fn register(recorder: &dyn Recorder, sets: &Sets) -> Self {
                Self {
                    $($field: Family::register(
                        recorder, sets, &table!(declared $help, $form, $name, $unit, [$($label: $set),*])
                    )),*
                }
            }
        }
    };
    (declared $help:literal, $form:ident, $name:literal, $unit:ident, [$($label:literal: $set:ty),*]) => {
        Declared {
            name: $name,
            kind: <$form as Form>::KIND,
            help: $help.trim_ascii(),
            unit: Unit::$unit,
            labels: &[$($label),*],
            sets: <($($set,)*) as Labels>::sets,
            buckets: <$form as Form>::BUCKETS,
        }
    };
}

table! {
    /// What one process counts of itself.
    Process

    /// 1, by the version of ragq that runs.
    build_info: Gauge, "ragq_build_info", Count, ["version": Version];
    /// Unix time at which the process started.
    start_time: Gauge, "ragq_process_start_time_seconds", Seconds, [];
    /// CPU time the process has used, user and system.
    cpu: Gauge, "ragq_process_cpu_seconds", Seconds, [];
    /// Memory the process holds resident.
    resident: Gauge, "ragq_process_resident_memory_bytes", Bytes, [];
    /// File descriptors the process has open.
    descriptors: Gauge, "ragq_process_open_fds", Count, [];
    /// Spans for the collector of traces: sent, or lost because it was away or too slow.
    spans: Counter, "ragq_spans_total", Count, ["fate": SpanFate];

    /// Jobs stored, repeated requests left out.
    submitted: Counter, "ragq_jobs_submitted_total", Count, ["kind": Kind];
    /// Jobs that could not be stored because the queue was full.
    refused: Counter, "ragq_jobs_refused_total", Count, ["kind": Kind];
    /// Jobs handed to this worker.
    delivered: Counter, "ragq_jobs_delivered_total", Count, ["kind": Kind];
    /// Jobs that became final, by how they ended.
    finished: Counter, "ragq_jobs_finished_total", Count, ["kind": Kind, "outcome": Outcome];
    /// Jobs that became dead letters, by reason.
    dead_lettered: Counter, "ragq_jobs_dead_lettered_total", Count, ["kind": Kind, "reason": DeadReason];
    /// Attempts that ended, by the class of their failure.
    attempts: Counter, "ragq_attempts_total", Count, ["kind": Kind, "class": AttemptClass];
    /// Deliveries that ended in a failure, by its code, whatever followed for the job.
    failures: Counter, "ragq_failures_total", Count, ["code": Code];
    /// Jobs put back without using an attempt, by the cause.
    deferrals: Counter, "ragq_deferrals_total", Count, ["code": Code];
    /// Jobs handed back uncounted by a worker that left.
    handed_back: Counter, "ragq_jobs_handed_back_total", Count, ["kind": Kind];
    /// Leases taken from workers that fell silent.
    lost_leases: Counter, "ragq_lost_leases_total", Count, [];
    /// Finishes and releases refused because the lease was no longer the job's.
    stale_finishes: Counter, "ragq_stale_finishes_total", Count, ["kind": Kind];
    /// Dead letters queued again.
    replays: Counter, "ragq_replays_total", Count, [];
    /// Dead letters removed for good.
    discards: Counter, "ragq_discards_total", Count, [];
    /// How long jobs were queued before they were handed to this worker.
    wait: Long, "ragq_job_wait_seconds", Seconds, ["kind": Kind];
    /// How long this worker worked on a delivery, however it ended.
    run: Long, "ragq_job_run_seconds", Seconds, ["kind": Kind];
    /// From submit to completion, waits and earlier attempts included.
    end_to_end: Long, "ragq_job_end_to_end_seconds", Seconds, ["kind": Kind];
    /// Jobs this worker is working on.
    in_flight: Gauge, "ragq_jobs_in_flight", Count, ["kind": Kind];
    /// Jobs this worker may work on at a time.
    slots: Gauge, "ragq_slots", Count, ["kind": Kind];

    /// Calls to providers that ended, by outcome.
    calls: Counter, "ragq_provider_calls_total", Count,
        ["provider": Provider, "operation": Operation, "outcome": CallOutcome];
    /// Calls to providers under way.
    calls_in_flight: Gauge, "ragq_provider_calls_in_flight", Count, ["provider": Provider, "operation": Operation];
    /// From the beginning of a call to its first token.
    first_token: Long, "ragq_provider_first_token_seconds", Seconds, ["provider": Provider];
    /// From the beginning of a call to its end, however it ended.
    call: Long, "ragq_provider_call_seconds", Seconds, ["provider": Provider, "operation": Operation];
    /// Tokens of calls, by what became of them and by side.
    tokens: Counter, "ragq_provider_tokens_total", Count, ["provider": Provider, "fate": Fate, "side": Side];
    /// How long calls waited for admission.
    admission: Long, "ragq_provider_admission_seconds", Seconds, ["provider": Provider, "operation": Operation];
    /// Calls ragq itself did not let through, by cause.
    refusals: Counter, "ragq_provider_refusals_total", Count,
        ["provider": Provider, "operation": Operation, "cause": Refusal];
    /// Changes of the circuit breaker made by this process, by the state it went to.
    breaker_transitions: Counter, "ragq_provider_breaker_transitions_total", Count,
        ["provider": Provider, "operation": Operation, "state": BreakerState];

    /// What retrieving passages took, by stage.
    retrieval_stage: Short, "ragq_retrieval_stage_seconds", Seconds, ["stage": RetrievalStage];
    /// Retrievals, by how the index was searched.
    retrievals: Counter, "ragq_retrievals_total", Count, ["mode": SearchMode];
    /// Retrievals that had to do without vectors though there is an embedding model.
    degraded: Counter, "ragq_retrievals_degraded_total", Count, [];
    /// What taking in a document took, by stage.
    ingest_stage: Long, "ragq_ingest_stage_seconds", Seconds, ["stage": IngestStage];

    /// HTTP requests answered, by route template and class of status.
    requests: Counter, "ragq_http_requests_total", Count, ["route": Route, "status": StatusClass];
    /// From an HTTP request's head to the head of its answer.
    request: Short, "ragq_http_request_seconds", Seconds, ["route": Route];

    /// What the job store took to answer.
    store: Short, "ragq_store_seconds", Seconds, ["operation": StoreOperation];
    /// Operations of the job store that failed.
    store_errors: Counter, "ragq_store_errors_total", Count, ["operation": StoreOperation];
}

table! {
    /// What the shared job store says of the whole deployment.
    Deployment

    /// 1 if the job store answered this replica; if not, the other deployment-wide figures are NaN.
    store_up: Gauge, "ragq_store_up", Count, [];
    /// Jobs that are not done with, by state; dead ones wait for an operator.
    depth: Gauge, "ragq_queue_depth", Count, ["kind": Kind, "status": Depth];
    /// Jobs that are done with, kept until their retention is over.
    kept: Gauge, "ragq_jobs_kept", Count, ["status": Kept];
    /// Jobs that workers could take: queued and due.
    backlog: Gauge, "ragq_backlog", Count, [];
    /// Age of the job that has been queued longest; 0 if none is.
    oldest: Gauge, "ragq_oldest_queued_age_seconds", Seconds, ["kind": Kind];
    /// 1 if jobs of the kind are not handed out.
    paused: Gauge, "ragq_queue_paused", Count, ["kind": Kind];
    /// Workers heard of within their lease.
    workers: Gauge, "ragq_workers", Count, [];
    /// Slots of all workers.
    all_slots: Gauge, "ragq_workers_slots", Count, ["kind": Kind];
    /// Dead letters kept, by reason.
    dead_letters: Gauge, "ragq_dead_letters", Count, ["reason": DeadReason];
    /// Memory the job store uses; of an embedded one its file's size.
    used: Gauge, "ragq_store_used_bytes", Bytes, [];
    /// Memory the job store may use; 0 if there is no limit.
    limit: Gauge, "ragq_store_limit_bytes", Bytes, [];
    /// 1 if the job store may lose accepted jobs for this reason.
    danger: Gauge, "ragq_store_danger", Count, ["danger": Danger];
    /// 1 for the state a provider's circuit breaker is in.
    breaker: Gauge, "ragq_provider_breaker_state", Count,
        ["provider": Provider, "operation": Operation, "state": BreakerState];
}
