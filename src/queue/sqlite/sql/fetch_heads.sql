-- The first jobs of one list.
-- ?1 kind, ?2 priority, ?3 at most so many
-- Returns job, deadline_at in order.
SELECT job, deadline_at FROM jobs WHERE status = 'queued' AND kind = ?1 AND priority = ?2 ORDER BY place LIMIT ?3
