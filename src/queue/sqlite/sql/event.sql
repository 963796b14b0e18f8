-- Writes the next event of a job's log.
-- ?1 job, ?2 attempt, ?3 data
INSERT INTO events (job, seq, attempt, data)
SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3 FROM events WHERE job = ?1
