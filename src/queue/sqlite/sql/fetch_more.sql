-- Whether a job of the kind is queued.
-- ?1 kind
-- Returns a row if so.
SELECT 1 FROM jobs WHERE status = 'queued' AND kind = ?1 LIMIT 1
