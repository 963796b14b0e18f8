-- Holds a worker's leases for another lease time.
-- ?1 id, ?2 info, ?3 now, ?4 lease_until
INSERT INTO workers (id, info, heartbeat_at, lease_until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET info = excluded.info, heartbeat_at = excluded.heartbeat_at,
    lease_until = excluded.lease_until
