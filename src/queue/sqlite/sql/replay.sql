-- Queues a dead job again: all counters but the delivery number and what it has cost start again.
-- ?1 job, ?2 place, ?3 now, ?4 deadline_at, ?5 payload or null to keep it, ?6 bytes
UPDATE jobs SET status = 'queued', place = ?2, queued_at = ?3, deadline_at = ?4, payload = coalesce(?5, payload),
    bytes = ?6, attempt = 0, deliveries = 0, lost_leases = 0, deferrals = 0, started_at = NULL, finished_at = NULL,
    reason = NULL, code = NULL, error = NULL, result = NULL
WHERE job = ?1
