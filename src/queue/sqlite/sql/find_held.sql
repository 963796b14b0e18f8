-- Jobs that a worker holds, in the order they were queued in.
-- ?1 worker, ?2 at most so many
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE status = 'running' AND worker = ?1 ORDER BY place LIMIT ?2
