-- A piece of a job's log.
-- ?1 job, ?2 after this number, ?3 at most so many
-- Returns seq, attempt, data in order.
SELECT seq, attempt, data FROM events WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
