-- The job store's tables. Times are milliseconds since 1970 (UTC); words are those of the API.
-- Rows that belong to one job hang on its number and go with it; the tenant stands in the job's row.

CREATE TABLE jobs (
    job             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    tenant          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    priority        TEXT NOT NULL,
    status          TEXT NOT NULL,
    place           INTEGER NOT NULL,           -- order within the list of its kind and priority
    attempt         INTEGER NOT NULL DEFAULT 0,
    max_attempts    INTEGER NOT NULL,
    delivery        INTEGER NOT NULL DEFAULT 0, -- over its whole life: part of the fencing token
    deliveries      INTEGER NOT NULL DEFAULT 0, -- since the last replay
    lost_leases     INTEGER NOT NULL DEFAULT 0,
    deferrals       INTEGER NOT NULL DEFAULT 0,
    worker          TEXT,                       -- who holds it while it runs
    bytes           INTEGER NOT NULL,           -- payload and upload, for the queue's limit
    created_at      INTEGER NOT NULL,
    queued_at       INTEGER,
    due_at          INTEGER,
    deadline_ms     INTEGER,                    -- as asked for: a replay starts it again
    deadline_at     INTEGER,
    started_at      INTEGER,
    finished_at     INTEGER,
    conversation_id TEXT,
    traceparent     TEXT,
    idempotency_key TEXT,
    fingerprint     TEXT,
    reason          TEXT,
    code            TEXT,                       -- of `error`, for dead letters
    error           TEXT,                       -- JSON
    payload         TEXT NOT NULL,              -- JSON
    result          TEXT                        -- JSON
) STRICT;

CREATE INDEX jobs_queued ON jobs (kind, priority, place) WHERE status = 'queued';
CREATE INDEX jobs_queued_since ON jobs (queued_at) WHERE status = 'queued';
CREATE INDEX jobs_scheduled ON jobs (due_at) WHERE status = 'scheduled';
CREATE INDEX jobs_running ON jobs (worker, place) WHERE status = 'running';
CREATE INDEX jobs_deadline ON jobs (deadline_at)
    WHERE deadline_at IS NOT NULL AND status IN ('queued', 'scheduled');
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE status IN ('completed', 'cancelled');
CREATE INDEX jobs_dead ON jobs (finished_at, id) WHERE status = 'dead';
CREATE INDEX jobs_dead_causes ON jobs (reason, code, kind) WHERE status = 'dead';
CREATE UNIQUE INDEX jobs_idempotency ON jobs (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What a job's readers are shown; number 0 (`created`) is derived from the job's row.
CREATE TABLE events (
    job     INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    data    TEXT,                               -- JSON; null: `completed`, its result is the job's
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

-- Every delivery that failed or was lost.
CREATE TABLE attempts (
    job        INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    delivery   INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    worker     TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    error      TEXT,                            -- JSON
    PRIMARY KEY (job, delivery)
) STRICT, WITHOUT ROWID;

-- What was retrieved for a job that is not yet final.
CREATE TABLE contexts (
    job     INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    context TEXT NOT NULL                       -- JSON
) STRICT;

-- The bytes of a document whose ingestion waits or may be replayed.
CREATE TABLE uploads (
    job   INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

-- The document change that a job of kind `ingest` carries out.
CREATE TABLE changes (
    job          INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    tenant       TEXT NOT NULL,
    document_id  TEXT NOT NULL,
    version      INTEGER NOT NULL,
    data         TEXT NOT NULL                  -- JSON of the document version
) STRICT;

CREATE TABLE turns (
    job             INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    tenant          TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    at              INTEGER NOT NULL,
    question        TEXT NOT NULL,
    answer          TEXT NOT NULL
) STRICT;

CREATE INDEX turns_of_conversation ON turns (tenant, conversation_id, at, job);

-- Workers and all else that follows serve every tenant, or say whose they are.
CREATE TABLE workers (
    id           TEXT PRIMARY KEY,
    info         TEXT NOT NULL,                 -- JSON
    heartbeat_at INTEGER NOT NULL,
    lease_until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE paused (kind TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Jobs per status and the bytes of those not final, kept in step with `jobs` in every transaction.
CREATE TABLE totals (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    queued    INTEGER NOT NULL,
    scheduled INTEGER NOT NULL,
    running   INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    place     INTEGER NOT NULL                  -- the last one given out
) STRICT;

INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);
