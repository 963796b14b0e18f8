-- Finds the job that a tenant's idempotency key stands for.
-- ?1 tenant, ?2 key
-- Returns id, fingerprint; no row: the key is new.
SELECT id, fingerprint FROM jobs WHERE tenant = ?1 AND idempotency_key = ?2
