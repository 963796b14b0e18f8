-- The job of a row number, for a change.
-- ?1 job
-- Returns the columns of `Row`.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error
FROM jobs WHERE job = ?1
