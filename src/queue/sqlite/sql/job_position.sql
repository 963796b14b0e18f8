-- Counts queued jobs of one list, up to a bound.
-- ?1 kind, ?2 priority, ?3 place: only those before it, ?4 the bound
-- Returns the count.
SELECT count(*) FROM (
    SELECT 1 FROM jobs WHERE status = 'queued' AND kind = ?1 AND priority = ?2 AND place < ?3 LIMIT ?4
)
