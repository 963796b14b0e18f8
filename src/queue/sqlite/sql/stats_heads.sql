-- Since when the first jobs of a kind's three lists have been queued.
-- ?1 kind
-- Returns the earliest, or null.
SELECT min(since) FROM (
    SELECT * FROM (SELECT queued_at AS since FROM jobs
        WHERE status = 'queued' AND kind = ?1 AND priority = 'high' ORDER BY place LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT queued_at FROM jobs
        WHERE status = 'queued' AND kind = ?1 AND priority = 'normal' ORDER BY place LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT queued_at FROM jobs
        WHERE status = 'queued' AND kind = ?1 AND priority = 'low' ORDER BY place LIMIT 1)
)
