-- Writes a piece of an answer to the log, if the lease is still the job's.
-- ?1 id, ?2 worker, ?3 delivery, ?4 data
-- Changes one row; none: stale.
INSERT INTO events (job, seq, attempt, data)
SELECT job, (SELECT coalesce(max(seq), 0) + 1 FROM events WHERE events.job = jobs.job), attempt, ?4
FROM jobs WHERE id = ?1 AND status = 'running' AND worker = ?2 AND delivery = ?3
