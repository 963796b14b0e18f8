-- The audit log, newest first.
-- ?1 only entries before this number, ?2 at most so many
SELECT number, at, note FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2
