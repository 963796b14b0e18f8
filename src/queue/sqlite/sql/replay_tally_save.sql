-- Keeps how far a replay has come.
-- ?1 job, ?2 to ?11 the columns in their order
INSERT INTO replays (job, matched, replayed, ended, failed_again, codes, exhausted, at, id, seen, looked)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT DO UPDATE SET matched = excluded.matched, replayed = excluded.replayed, ended = excluded.ended,
    failed_again = excluded.failed_again, codes = excluded.codes, exhausted = excluded.exhausted, at = excluded.at,
    id = excluded.id, seen = excluded.seen, looked = excluded.looked
