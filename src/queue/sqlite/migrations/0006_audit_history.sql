-- What operators did; and what happened in each interval of the last hour.

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    note   TEXT NOT NULL                        -- JSON
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TABLE history (
    at     INTEGER NOT NULL,                    -- when the interval began
    name   TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (at, name)
) STRICT, WITHOUT ROWID;
