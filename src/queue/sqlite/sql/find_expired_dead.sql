-- Dead letters whose retention is over.
-- ?1 dead at or before, ?2 at most so many
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE status = 'dead' AND finished_at <= ?1 ORDER BY finished_at LIMIT ?2
