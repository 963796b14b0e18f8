-- Forgets what was retrieved for a job.
-- ?1 job
DELETE FROM contexts WHERE job = ?1
