-- Notes a delivery that failed or was lost.
-- ?1 job, ?2 delivery, ?3 attempt, ?4 worker, ?5 started_at, ?6 now, ?7 outcome, ?8 error
INSERT INTO attempts (job, delivery, attempt, worker, started_at, ended_at, outcome, error)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
