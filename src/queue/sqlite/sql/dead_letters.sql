-- A page of dead letters, newest first.
-- ?1 reason or null, ?2 code or null, ?3 kind or null, ?4 and ?5 dead before this time and id, ?6 at most so many
SELECT id, tenant, kind, reason, error, attempt, deliveries, lost_leases, created_at, finished_at
FROM jobs
WHERE status = 'dead' AND (finished_at, id) < (?4, ?5)
    AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR kind = ?3)
ORDER BY finished_at DESC, id DESC LIMIT ?6
