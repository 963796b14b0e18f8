-- Hands a queued job to a worker.
-- ?1 job, ?2 worker, ?3 now
-- Returns what the worker needs of it.
UPDATE jobs SET status = 'running', worker = ?2, started_at = ?3, delivery = delivery + 1,
    deliveries = deliveries + 1, attempt = attempt + 1
WHERE job = ?1
RETURNING id, tenant, payload, attempt, max_attempts, deferrals, created_at, deadline_at, conversation_id,
    traceparent, delivery, queued_at, request_id
