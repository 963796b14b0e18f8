-- The document registry: which documents there are, and which version of each is seen.

CREATE TABLE documents (
    tenant          TEXT NOT NULL,
    document_id     TEXT NOT NULL,
    collection      TEXT NOT NULL,              -- of what is seen; before that, of the newest submission
    title           TEXT NOT NULL,
    source          TEXT,
    latest_version  INTEGER NOT NULL,           -- the highest given out
    latest_change   TEXT NOT NULL,              -- put or delete
    outcome         TEXT NOT NULL,              -- of the newest submission: waiting, applied, failed, dropped
    applied_version INTEGER NOT NULL DEFAULT 0, -- the highest applied
    chunk_version   INTEGER,                    -- the one that is seen
    content_hash    TEXT,                       -- of what is seen
    embedding_model TEXT,                       -- of the vectors that are searched
    chunks          INTEGER NOT NULL DEFAULT 0,
    size_bytes      INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    job_id          TEXT NOT NULL,              -- of the newest submission
    error           TEXT,                       -- JSON; why the newest submission failed
    waiting         INTEGER NOT NULL,           -- its jobs that are queued, scheduled or running
    dead            INTEGER NOT NULL DEFAULT 0, -- its jobs that may be replayed
    -- Raised whenever chunks of other versions than the seen one may be in the index; swept up to `swept`.
    revision        INTEGER NOT NULL DEFAULT 0,
    swept           INTEGER NOT NULL DEFAULT 0,
    -- A sweep began at this revision and is taken to be under way until `claim_until`.
    claim           INTEGER,
    claim_until     INTEGER,
    listed          INTEGER NOT NULL AS (
        chunk_version IS NOT NULL OR waiting > 0 OR (outcome = 'failed' AND latest_change = 'put')
    ) VIRTUAL,
    PRIMARY KEY (tenant, document_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_of_collection ON documents (tenant, collection, document_id);
CREATE INDEX documents_to_sweep ON documents (tenant, document_id) WHERE revision > swept;
CREATE INDEX documents_claimed ON documents (tenant, document_id) WHERE claim IS NOT NULL;
CREATE INDEX documents_hidden ON documents (updated_at) WHERE chunk_version IS NULL;

-- Sums over listed documents, kept by the triggers below.
CREATE TABLE collections (
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    documents  INTEGER NOT NULL,
    chunks     INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER document_added AFTER INSERT ON documents WHEN NEW.listed BEGIN
    INSERT INTO collections VALUES (NEW.tenant, NEW.collection, 1, NEW.chunks, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET documents = documents + 1,
        chunks = chunks + excluded.chunks, size_bytes = size_bytes + excluded.size_bytes;
END;

CREATE TRIGGER document_changed AFTER UPDATE ON documents
WHEN OLD.listed IS NOT NEW.listed OR OLD.collection IS NOT NEW.collection
    OR OLD.chunks IS NOT NEW.chunks OR OLD.size_bytes IS NOT NEW.size_bytes
BEGIN
    UPDATE collections SET documents = documents - OLD.listed,
        chunks = chunks - OLD.listed * OLD.chunks, size_bytes = size_bytes - OLD.listed * OLD.size_bytes
    WHERE tenant = OLD.tenant AND name = OLD.collection;
    INSERT INTO collections
    VALUES (NEW.tenant, NEW.collection, NEW.listed, NEW.listed * NEW.chunks, NEW.listed * NEW.size_bytes)
    ON CONFLICT DO UPDATE SET documents = documents + excluded.documents,
        chunks = chunks + excluded.chunks, size_bytes = size_bytes + excluded.size_bytes;
    DELETE FROM collections WHERE tenant = OLD.tenant AND name IN (OLD.collection, NEW.collection) AND documents = 0;
END;

CREATE TRIGGER document_removed AFTER DELETE ON documents WHEN OLD.listed BEGIN
    UPDATE collections SET documents = documents - 1,
        chunks = chunks - OLD.chunks, size_bytes = size_bytes - OLD.size_bytes
    WHERE tenant = OLD.tenant AND name = OLD.collection;
    DELETE FROM collections WHERE tenant = OLD.tenant AND name = OLD.collection AND documents = 0;
END;
