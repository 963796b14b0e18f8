-- Replays of many dead letters: how far each has come, and which of its letters have not been seen to end.

CREATE TABLE replays (
    job          INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    matched      INTEGER NOT NULL,              -- letters that it is for
    replayed     INTEGER NOT NULL,
    ended        INTEGER NOT NULL,              -- of the replayed ones, as far as was looked
    failed_again INTEGER NOT NULL,
    codes        TEXT NOT NULL,                 -- JSON: how many failed again by code
    exhausted    INTEGER NOT NULL,              -- none is left to put back
    at           INTEGER NOT NULL,              -- when the last letter that was put back had died,
    id           TEXT NOT NULL,                 -- and which it is
    seen         INTEGER NOT NULL,              -- ids of its order that were looked at
    looked       INTEGER NOT NULL               -- the last of its waiting letters that was looked at
) STRICT;

CREATE TABLE replays_waiting (
    replay INTEGER NOT NULL REFERENCES replays ON DELETE CASCADE,
    letter INTEGER NOT NULL,                    -- the job put back
    PRIMARY KEY (replay, letter)
) STRICT, WITHOUT ROWID;

-- All that a selection of letters looks at stands in the index, so that those that do not fit are never read.
DROP INDEX jobs_dead;
CREATE INDEX jobs_dead ON jobs (finished_at, id, reason, code, kind) WHERE status = 'dead';
