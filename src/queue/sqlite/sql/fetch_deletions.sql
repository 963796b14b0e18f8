-- The first ingestions that only delete a document.
-- ?1 at most so many
-- Returns job, deadline_at in order.
SELECT jobs.job, jobs.deadline_at FROM changes CROSS JOIN jobs ON jobs.job = changes.job
WHERE changes.data ->> 'change' = 'delete' AND jobs.status = 'queued' AND jobs.kind = 'ingest'
ORDER BY changes.job LIMIT ?1
