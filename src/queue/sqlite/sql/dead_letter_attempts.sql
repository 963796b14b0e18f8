-- Every delivery of a job that failed or was lost, oldest first.
-- ?1 job
SELECT attempt, delivery, worker, started_at, ended_at, outcome, error FROM attempts WHERE job = ?1 ORDER BY delivery
