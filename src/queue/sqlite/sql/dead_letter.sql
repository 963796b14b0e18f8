-- One dead letter with its payload.
-- ?1 id
SELECT id, tenant, kind, reason, error, attempt, deliveries, lost_leases, created_at, finished_at, payload, job, request_id
FROM jobs WHERE id = ?1 AND status = 'dead'
