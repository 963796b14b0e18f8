-- Scheduled jobs whose time has come, in the order of their times.
-- ?1 now, ?2 at most so many
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE status = 'scheduled' AND due_at <= ?1 ORDER BY due_at, job LIMIT ?2
