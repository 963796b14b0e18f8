-- The workers heard of within their lease.
-- ?1 now
-- Returns info, heartbeat_at, how many jobs each holds.
SELECT info, heartbeat_at, (SELECT count(*) FROM jobs WHERE status = 'running' AND worker = workers.id)
FROM workers WHERE lease_until > ?1 ORDER BY id
