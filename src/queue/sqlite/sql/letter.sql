-- A job, if it is a dead letter of a selection; replays are not replayed.
-- ?1 reason or null, ?2 code or null, ?3 kind or null, ?4 id
-- Returns the columns of `Row`, and when it died.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error, finished_at
FROM jobs
WHERE id = ?4 AND status = 'dead' AND kind <> 'replay'
    AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR kind = ?3)
