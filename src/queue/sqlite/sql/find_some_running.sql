-- Running jobs of a kind.
-- ?1 kind, ?2 at most so many, ?3 without the first so many
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE status = 'running' AND kind = ?1 ORDER BY worker, place LIMIT ?2 OFFSET ?3
