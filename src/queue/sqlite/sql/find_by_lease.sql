-- The job of a lease, if the lease is still the job's: the fence before every step of a worker.
-- ?1 id, ?2 worker, ?3 delivery
-- Returns the columns of `Row`; no row: stale.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE id = ?1 AND status = 'running' AND worker = ?2 AND delivery = ?3
