-- Waiting jobs whose deadline has passed.
-- ?1 now, ?2 at most so many
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE deadline_at IS NOT NULL AND status IN ('queued', 'scheduled') AND deadline_at <= ?1
ORDER BY deadline_at LIMIT ?2
