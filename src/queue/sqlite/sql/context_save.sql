-- Keeps what was retrieved for a job.
-- ?1 job, ?2 context
INSERT INTO contexts (job, context) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET context = excluded.context
