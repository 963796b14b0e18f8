//! The statements, one file each; every file opens with its purpose, parameters and what it returns.

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) const $name: &str = include_str!(concat!("sql/", $file, ".sql"));)*

        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str)] = &[$(($file, $name)),*];
    };
}

statements! {
    ATTEMPT = "attempt";
    AUDIT = "audit";
    AUDIT_EXPIRE = "audit_expire";
    CELL = "cell";
    CELL_WRITE = "cell_write";
    CLAIMS_END = "claims_end";
    COLLECTIONS = "collections";
    CONTEXT_SAVE = "context_save";
    DEAD_LETTER = "dead_letter";
    DEAD_LETTER_ATTEMPTS = "dead_letter_attempts";
    DEAD_LETTER_GROUPS = "dead_letter_groups";
    DEAD_LETTERS = "dead_letters";
    DELTA = "delta";
    DOCUMENT = "document";
    DOCUMENT_COMMIT_CHECK = "document_commit_check";
    DOCUMENT_DELETE = "document_delete";
    DOCUMENT_END = "document_end";
    DOCUMENT_KEEP = "document_keep";
    DOCUMENT_LETTER_REMOVED = "document_letter_removed";
    DOCUMENT_OF_JOB = "document_of_job";
    DOCUMENT_REPLACE = "document_replace";
    DOCUMENT_REPLAYED = "document_replayed";
    DOCUMENTS = "documents";
    DOCUMENTS_OF_COLLECTION = "documents_of_collection";
    END = "end";
    END_CONTEXT = "end_context";
    END_TURN = "end_turn";
    END_UPLOAD = "end_upload";
    EVENT = "event";
    EVENTS_AFTER = "events_after";
    EVENTS_HEAD = "events_head";
    FETCH_CHANGE = "fetch_change";
    FETCH_CONTEXT = "fetch_context";
    FETCH_DELETIONS = "fetch_deletions";
    FETCH_DELIVER = "fetch_deliver";
    FETCH_HEADS = "fetch_heads";
    FETCH_MORE = "fetch_more";
    FIND_BY_ID = "find_by_id";
    FIND_BY_LEASE = "find_by_lease";
    FIND_BY_NUMBER = "find_by_number";
    FIND_DUE = "find_due";
    FIND_EXPIRED_DEAD = "find_expired_dead";
    FIND_EXPIRED_ENDED = "find_expired_ended";
    FIND_HELD = "find_held";
    FIND_PAST_DEADLINE = "find_past_deadline";
    FIND_SOME_QUEUED = "find_some_queued";
    FIND_SOME_RUNNING = "find_some_running";
    FIND_SOME_SCHEDULED = "find_some_scheduled";
    HEARTBEAT = "heartbeat";
    HISTORY = "history";
    HISTORY_ADD = "history_add";
    HISTORY_EXPIRE = "history_expire";
    HISTORY_SET = "history_set";
    JOB_POSITION = "job_position";
    JOB_VIEW = "job_view";
    LEFTOVERS = "leftovers";
    LETTER = "letter";
    LETTERS = "letters";
    LETTERS_COUNT = "letters_count";
    NEXT_DUE = "next_due";
    NOTE = "note";
    PAUSE = "pause";
    PAUSED = "paused";
    QUEUE = "queue";
    REMOVE = "remove";
    REPLAY = "replay";
    REPLAY_BYTES = "replay_bytes";
    REPLAY_ENDED = "replay_ended";
    REPLAY_SAW_END = "replay_saw_end";
    REPLAY_TALLY = "replay_tally";
    REPLAY_TALLY_SAVE = "replay_tally_save";
    REPLAY_WAITING = "replay_waiting";
    REPLAY_WAITS = "replay_waits";
    RESUME = "resume";
    SCHEDULE = "schedule";
    SPEND = "spend";
    STATS_DEAD = "stats_dead";
    STATS_DUE = "stats_due";
    STATS_HEADS = "stats_heads";
    STATS_KINDS = "stats_kinds";
    STATS_OLDEST = "stats_oldest";
    STATS_WORKERS = "stats_workers";
    SUBMIT_CHANGE = "submit_change";
    SUBMIT_DOCUMENT = "submit_document";
    SUBMIT_FIND_IDEMPOTENT = "submit_find_idempotent";
    SUBMIT_INSERT = "submit_insert";
    SUBMIT_UPLOAD = "submit_upload";
    SWEPT = "swept";
    TOMBSTONES = "tombstones";
    TOTALS_READ = "totals_read";
    TOTALS_WRITE = "totals_write";
    TURNS = "turns";
    UPLOAD = "upload";
    VISIBLE = "visible";
    WORKER_FORGET = "worker_forget";
    WORKER_LIVE = "worker_live";
    WORKERS_ALL = "workers_all";
    WORKERS_SILENT = "workers_silent";
}
