-- Makes a job final.
-- ?1 job, ?2 status, ?3 now, ?4 attempt, ?5 lost_leases, ?6 reason, ?7 code, ?8 error, ?9 result
UPDATE jobs SET status = ?2, finished_at = ?3, attempt = ?4, lost_leases = ?5, reason = ?6, code = ?7,
    error = ?8, result = ?9, worker = NULL, due_at = NULL
WHERE job = ?1
