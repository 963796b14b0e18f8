-- Small values that outlive the process, each with a version that rises by one with every change.

CREATE TABLE cells (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
