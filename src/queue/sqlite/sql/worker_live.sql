-- Whether a worker has been heard of within its lease.
-- ?1 id, ?2 now
-- Returns a row if so.
SELECT 1 FROM workers WHERE id = ?1 AND lease_until > ?2
