-- How far a replay has come.
-- ?1 job
SELECT matched, replayed, ended, failed_again, codes, exhausted, at, id, seen, looked FROM replays WHERE job = ?1
