-- Dead letters of a selection, newest first; replays are not replayed.
-- ?1 reason or null, ?2 code or null, ?3 kind or null, ?4 and ?5 dead before this time and id, ?6 at most so many
-- Returns the columns of `Row`, and when each died.
SELECT job, id, tenant, kind, priority, status, place, attempt, max_attempts, delivery, lost_leases, deferrals,
    worker, bytes, started_at, deadline_ms, deadline_at, conversation_id, error, finished_at
FROM jobs
WHERE status = 'dead' AND (finished_at, id) < (?4, ?5) AND kind <> 'replay'
    AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR kind = ?3)
ORDER BY finished_at DESC, id DESC LIMIT ?6
