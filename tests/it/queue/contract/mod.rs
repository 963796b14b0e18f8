//! The contract that every job store keeps, written once against `dyn JobStore`.
//!
//! A case is a function over a [`Fixture`]; [`every_case`] makes a test of each for one adapter, so that a
//! new adapter brings a fixture and one line. A case that no list names is dead code, which does not build.

use std::time::Duration;

use async_trait::async_trait;
use ragq::{
    domain::{
        clock::Timestamp,
        document::{Change, DocumentChange, DocumentCommit, Format},
        failure::Code,
        ids::{JobId, Lease, WorkerId},
        job::{DeadReason, Delivery, JobError, JobView, Kind, NewJob, Priority, Status, Submitted},
        origin::Origin,
        spent::UsageTotal,
    },
    queue::{Fenced, Finish, JobStore, Release, SharedJobStore, Upkeep, WorkerInfo},
};
use serde_json::json;

pub mod cells;
pub mod control;
pub mod deliveries;
pub mod documents;
pub mod events;
pub mod leases;
pub mod operations;
pub mod replays;
pub mod submissions;

/// The instant at which a fixture's clock begins.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// What a case wants of its store.
#[derive(Clone, Debug)]
pub struct Limits {
    pub lease: Duration,
    pub max_lost_leases: u32,
    pub max_jobs: u64,
    pub max_bytes: u64,
    pub completed_retention: Duration,
    pub dead_retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            max_lost_leases: 3,
            max_jobs: 100_000,
            max_bytes: 1 << 30,
            completed_retention: Duration::from_hours(1),
            dead_retention: Duration::from_hours(2),
        }
    }
}

/// An adapter under test: an empty store, time that passes at will, a restart.
#[async_trait(?Send)]
pub trait Fixture: Sized + Send + Sync {
    async fn open(limits: Limits) -> Self;
    fn store(&self) -> SharedJobStore;
    /// Time passes for the store, and nothing else happens.
    async fn pass(&self, time: Duration);
    /// The process ends in good order and another opens the same store.
    async fn reopen(&mut self);
}

macro_rules! every_case {
    ($adapter:ident, $fixture:ty) => {
        $crate::queue::contract::every_case! { @ $adapter, $fixture;
            submissions: a_submitted_job_is_queued_and_shown;
            submissions: the_same_idempotency_key_and_request_find_the_first_job;
            submissions: the_same_idempotency_key_with_another_request_is_refused;
            submissions: idempotency_keys_of_tenants_are_apart;
            submissions: another_tenants_job_is_not_there;
            submissions: a_queue_at_its_limit_of_jobs_refuses_until_one_ends;
            submissions: a_queue_at_its_limit_of_bytes_refuses;
            submissions: a_delayed_job_is_scheduled_until_its_time;
            submissions: positions_count_the_jobs_that_go_first;
            submissions: a_cancelled_job_is_final_from_every_state;
            submissions: watchers_see_every_change;
            submissions: everything_is_still_there_after_a_restart;
            deliveries: jobs_are_handed_over_in_order;
            deliveries: priorities_are_taken_eight_to_four_to_one;
            deliveries: kinds_have_lists_of_their_own;
            deliveries: a_worker_that_has_not_beaten_gets_nothing;
            deliveries: a_waiting_worker_is_woken;
            deliveries: a_worker_that_fetched_before_it_beat_is_woken_by_its_beat;
            deliveries: a_retry_uses_an_attempt_and_waits_its_time;
            deliveries: a_retry_of_the_last_attempt_is_dead;
            deliveries: a_deferral_does_not_use_an_attempt;
            deliveries: a_handed_back_job_goes_first_and_is_not_counted;
            deliveries: a_leaving_worker_hands_back_all_it_holds;
            deliveries: a_job_past_its_deadline_is_dead_while_waiting;
            deliveries: a_job_past_its_deadline_is_not_handed_over;
            deliveries: a_delivery_says_how_long_the_job_was_queued;
            deliveries: a_wait_beyond_the_deadline_ends_at_the_deadline;
            deliveries: what_was_retrieved_is_there_for_the_next_attempt;
            deliveries: a_conversation_remembers_its_last_turns;
            deliveries: what_a_delivery_cost_is_counted_with_its_end_and_only_if_that_is_applied;
            deliveries: what_a_delivery_cost_that_lost_its_lease_is_added_whoever_has_the_job;
            deliveries: a_job_keeps_where_it_comes_from;
            leases: finishing_with_a_stale_lease_is_refused;
            leases: a_lost_lease_is_no_attempt;
            leases: a_job_whose_worker_is_lost_too_often_is_poison;
            leases: a_beating_worker_keeps_its_leases;
            leases: the_same_worker_holds_a_new_lease_on_a_second_delivery;
            leases: a_lease_holds_until_the_job_is_anothers_or_ends;
            leases: a_cancelled_job_can_not_be_finished;
            events: the_log_tells_the_jobs_life_in_order;
            events: a_log_is_read_in_pages_and_resumed;
            events: the_log_goes_on_after_a_replay;
            events: deltas_say_whether_anybody_reads;
            operations: figures_count_every_state;
            operations: figures_tell_kinds_and_reasons_apart;
            operations: a_paused_kind_is_not_handed_out_even_after_a_restart;
            operations: dead_letters_are_listed_newest_first_and_stably;
            operations: dead_letters_are_filtered_and_grouped;
            operations: a_large_page_of_dead_letters_holds_as_many_as_were_asked_for;
            operations: a_dead_letter_shows_every_failed_delivery;
            operations: replaying_twice_delivers_once;
            operations: a_replay_may_change_the_payload_and_starts_the_deadline_again;
            operations: a_discarded_letter_is_gone;
            operations: what_has_ended_is_kept_for_its_time_and_no_longer;
            operations: an_idempotency_key_lives_as_long_as_its_job;
            replays: a_replay_puts_back_only_what_is_selected_newest_first_and_in_steps;
            replays: a_replay_never_meets_what_it_put_back;
            replays: a_replay_sees_what_becomes_of_its_letters;
            replays: a_replay_goes_on_under_its_next_lease_where_it_was;
            replays: chosen_letters_are_replayed_if_they_are_still_dead;
            replays: a_replay_tells_how_far_it_is_and_was_when_it_was_cancelled;
            replays: a_full_queue_takes_replays_and_what_they_put_back;
            replays: a_dead_replay_is_not_part_of_another;
            cells: a_cell_nobody_wrote_is_empty_and_has_version_zero;
            cells: a_swap_replaces_exactly_the_version_it_names;
            cells: of_swaps_at_once_one_is_applied;
            cells: who_watches_is_told_of_announced_changes_alone;
            cells: a_cell_is_still_there_after_a_restart;
            control: jobs_of_a_kind_and_state_are_cancelled_in_steps;
            control: an_entry_of_the_audit_log_is_there_once_however_often_it_is_added;
            control: the_audit_log_is_read_newest_first_and_kept_for_its_time;
            control: the_history_adds_up_what_processes_count_and_what_the_store_does;
            documents: deletions_are_handed_over_by_themselves;
            documents: an_ingested_document_is_seen;
            documents: the_newest_version_wins_whatever_the_order;
            documents: unchanged_content_only_raises_the_version;
            documents: unchanged_is_refused_once_another_content_was_applied;
            documents: a_deletion_is_a_version;
            documents: a_failed_first_ingestion_says_why_and_can_be_replayed;
            documents: superseded_chunks_are_left_over_until_swept;
            documents: an_ingestion_that_ends_during_a_sweep_is_done_again;
            documents: documents_and_collections_are_listed;
            documents: a_large_page_of_documents_holds_as_many_as_were_asked_for;
            documents: a_tombstone_goes_after_its_time_and_versions_rise_until_then;
        }
    };
    (@ $adapter:ident, $fixture:ty; $($subject:ident : $case:ident;)*) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::queue::contract::$subject::$case::<$fixture>().await;
                }
            )*
        }
    };
}
pub(crate) use every_case;

/// A question of the default tenant.
pub fn chat(query: &str) -> NewJob {
    NewJob {
        id: JobId::new(START.0),
        tenant: "default".into(),
        kind: Kind::Chat,
        priority: Priority::Normal,
        payload: json!({ "query": query }),
        max_attempts: 5,
        deadline: None,
        delay: None,
        idempotency: None,
        conversation_id: None,
        document: None,
        origin: Origin::default(),
    }
}

/// A document's new content.
pub fn put(document: &str, content: &str) -> NewJob {
    let document = DocumentChange {
        document_id: document.into(),
        change: Change::Put,
        collection: "default".into(),
        title: format!("title of {document}"),
        source: None,
        content_hash: format!("hash of {content}"),
        format: Format::Text,
        upload: content.as_bytes().to_vec(),
    };
    NewJob { kind: Kind::Ingest, priority: Priority::Low, document: Some(document), ..chat("ingest") }
}

/// A document's deletion.
pub fn delete(document: &str) -> NewJob {
    let mut job = put(document, "");
    job.document.as_mut().unwrap().change = Change::Delete;
    job
}

pub async fn submit(store: &dyn JobStore, job: NewJob) -> JobId {
    let id = job.id;
    assert_eq!(store.submit(job).await.unwrap(), Submitted::Accepted(id));
    id
}

pub async fn view(store: &dyn JobStore, id: JobId) -> JobView {
    store.job(&"default".into(), id).await.unwrap().expect("the job is there")
}

/// A new worker that has announced itself.
pub async fn beat(store: &dyn JobStore, name: &str) -> WorkerId {
    let id = WorkerId::boot(name);
    beat_again(store, &id).await;
    id
}

pub async fn beat_again(store: &dyn JobStore, id: &WorkerId) {
    let info = WorkerInfo { id: id.clone(), version: "0.0.0".into(), slots: [(Kind::Chat, 8)].into() };
    store.heartbeat(&info).await.unwrap();
}

/// Takes one question.
pub async fn take(store: &dyn JobStore, worker: &WorkerId) -> Delivery {
    take_kind(store, worker, Kind::Chat).await
}

pub async fn take_kind(store: &dyn JobStore, worker: &WorkerId, kind: Kind) -> Delivery {
    let mut taken = store.fetch(worker, kind, 1).await.unwrap();
    assert_eq!(taken.len(), 1, "one job is handed over");
    taken.remove(0)
}

pub async fn fetch_ids(store: &dyn JobStore, worker: &WorkerId, max: usize) -> Vec<JobId> {
    store.fetch(worker, Kind::Chat, max).await.unwrap().into_iter().map(|delivery| delivery.lease.job).collect()
}

pub fn error(code: Code) -> JobError {
    JobError { code, message: format!("{code} happened"), class: code.class(), retry_at: None }
}

pub fn retry(after: Duration) -> Release {
    Release::Retry { after, error: error(Code::ProviderError) }
}

pub fn defer(after: Duration) -> Release {
    Release::Defer { after, error: error(Code::RateLimited) }
}

pub fn completed(text: &str) -> Finish {
    Finish::Completed { result: json!({ "answer": text }), document: None, turn: None }
}

pub fn dead(code: Code) -> Finish {
    Finish::Dead { reason: DeadReason::Permanent, error: error(code) }
}

pub async fn finish(store: &dyn JobStore, lease: &Lease, finish: Finish) {
    assert_eq!(store.finish(lease, finish, UsageTotal::default()).await.unwrap(), Fenced::Applied(()));
}

pub async fn complete(store: &dyn JobStore, lease: &Lease, text: &str) {
    finish(store, lease, completed(text)).await;
}

pub async fn commit(store: &dyn JobStore, lease: &Lease, document: DocumentCommit) {
    let result = json!({ "document_id": "d" });
    finish(store, lease, Finish::Completed { result, document: Some(document), turn: None }).await;
}

pub async fn release(store: &dyn JobStore, lease: &Lease, release: Release) {
    assert_eq!(store.release(lease, release, UsageTotal::default()).await.unwrap(), Fenced::Applied(()));
}

/// Submits a question and makes it a dead letter.
pub async fn dead_letter(store: &dyn JobStore, worker: &WorkerId, code: Code) -> JobId {
    let id = submit(store, chat("q")).await;
    let delivery = take(store, worker).await;
    assert_eq!(delivery.lease.job, id);
    finish(store, &delivery.lease, dead(code)).await;
    id
}

/// All workers fall silent for longer than their lease, while housekeeping goes on.
pub async fn silence<F: Fixture>(fixture: &F, limits: &Limits) -> Upkeep {
    let mut done = Upkeep::default();
    for _ in 0..5 {
        fixture.pass(limits.lease / 4).await;
        let round = fixture.store().upkeep().await.unwrap();
        done.leases_lost += round.leases_lost;
        done.poisoned += round.poisoned;
    }
    done
}

/// Nothing was lost: every job that was submitted is finished or waits.
pub async fn adds_up(store: &dyn JobStore, submitted: u64) {
    let counts = store.stats().await.unwrap().counts;
    let all: u64 = Status::ALL.iter().map(|status| counts[status]).sum();
    assert_eq!(all, submitted, "{counts:?}");
}
