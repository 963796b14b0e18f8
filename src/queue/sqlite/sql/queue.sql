-- Makes a job queued: promoted, handed back or taken back.
-- ?1 job, ?2 place, ?3 now, ?4 attempt, ?5 lost_leases
UPDATE jobs SET status = 'queued', place = ?2, queued_at = ?3, attempt = ?4, lost_leases = ?5,
    worker = NULL, due_at = NULL
WHERE job = ?1
