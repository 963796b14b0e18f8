-- A job as its owner sees it.
-- ?1 tenant, ?2 id
-- Returns its columns; no row: no such job of the tenant.
SELECT kind, status, attempt, max_attempts, deliveries, lost_leases, deferrals, created_at, started_at,
    finished_at, result, error, priority, place, job, calls, prompt_tokens, completion_tokens, wasted_tokens,
    traceparent
FROM jobs WHERE id = ?2 AND tenant = ?1
