-- The document that a job changes, for the job's end.
-- ?1 job
-- Returns tenant, document_id, version, data; no row: the job changes none.
SELECT tenant, document_id, version, data FROM changes WHERE job = ?1
