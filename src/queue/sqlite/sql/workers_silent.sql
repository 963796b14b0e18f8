-- Workers that were not heard of within their lease.
-- ?1 now
-- Returns their ids.
SELECT id FROM workers WHERE lease_until <= ?1
