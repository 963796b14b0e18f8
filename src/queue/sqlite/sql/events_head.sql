-- What is needed to read a job's log.
-- ?1 tenant, ?2 id
-- Returns job, status, result, the last number; no row: no such job of the tenant.
SELECT job, status, result, coalesce((SELECT max(seq) FROM events WHERE events.job = jobs.job), 0)
FROM jobs WHERE id = ?2 AND tenant = ?1
