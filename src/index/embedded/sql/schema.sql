-- The embedded index's tables. Purpose: what is needed to show passages and to rebuild the search structures.
-- Rows of texts, chunks and terms are keyed by document * 2^24 + number, so that a document's rows lie together.
CREATE TABLE shelves (
    shelf      INTEGER PRIMARY KEY,
    tenant     TEXT NOT NULL,
    collection TEXT NOT NULL,
    UNIQUE (tenant, collection)
);
-- One row per version of a document. state: 0 being written, 1 there, 2 being removed.
-- AUTOINCREMENT: a number in memory must never come to mean another document.
CREATE TABLE documents (
    document   INTEGER PRIMARY KEY AUTOINCREMENT,
    shelf      INTEGER NOT NULL,
    tenant     TEXT NOT NULL,
    id         TEXT NOT NULL,
    version    INTEGER NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,
    title      TEXT NOT NULL,
    source     TEXT,
    language   TEXT NOT NULL,
    analysis   INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    chunks     INTEGER NOT NULL,
    text_bytes INTEGER NOT NULL,
    model      TEXT,
    dimensions INTEGER
);
CREATE UNIQUE INDEX documents_by_id ON documents (tenant, id, version) WHERE state = 1;
CREATE INDEX documents_by_shelf ON documents (shelf);
CREATE INDEX documents_embedded ON documents (model, dimensions) WHERE state = 1 AND model IS NOT NULL;
CREATE INDEX documents_unfinished ON documents (document) WHERE state <> 1;
-- The normalised text in pieces of equal size, so that a passage is read without reading the whole.
CREATE TABLE texts (piece INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
-- Spans, headings (JSON, if any) and unit-length vector (32-bit floats, little endian, if embedded).
CREATE TABLE chunks (
    chunk      INTEGER PRIMARY KEY,
    text_start INTEGER NOT NULL,
    text_end   INTEGER NOT NULL,
    headings   TEXT,
    vector     BLOB
);
-- The terms of up to 256 chunks, as forward.rs writes them.
CREATE TABLE terms (part INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
