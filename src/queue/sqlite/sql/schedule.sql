-- Makes a running job wait for its time.
-- ?1 job, ?2 due_at, ?3 attempt, ?4 deferrals, ?5 error
UPDATE jobs SET status = 'scheduled', due_at = ?2, attempt = ?3, deferrals = ?4, error = ?5, worker = NULL
WHERE job = ?1
