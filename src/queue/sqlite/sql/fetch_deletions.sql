-- The first queued jobs that only delete a document.
-- ?1 at most so many
-- Returns job, deadline_at in order.
SELECT job, deadline_at FROM jobs WHERE status = 'queued' AND deletes = 1 ORDER BY place LIMIT ?1
