-- Stores a new job.
-- ?1 id, ?2 tenant, ?3 kind, ?4 priority, ?5 status, ?6 place, ?7 max_attempts, ?8 bytes, ?9 created_at,
-- ?10 queued_at, ?11 due_at, ?12 deadline_ms, ?13 deadline_at, ?14 conversation_id, ?15 traceparent,
-- ?16 idempotency_key, ?17 fingerprint, ?18 payload, ?19 request_id, ?20 deletes
-- Changes one row; none if the id is taken: the same submission was stored before.
INSERT INTO jobs (id, tenant, kind, priority, status, place, max_attempts, bytes, created_at, queued_at, due_at,
    deadline_ms, deadline_at, conversation_id, traceparent, idempotency_key, fingerprint, payload, request_id,
    deletes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT (id) DO NOTHING
