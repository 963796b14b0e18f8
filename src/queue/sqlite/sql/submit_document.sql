-- Gives a document change its version and makes it the newest submission of its document.
-- ?1 tenant, ?2 document_id, ?3 collection, ?4 title, ?5 source, ?6 change, ?7 now, ?8 job id
-- Returns the version.
INSERT INTO documents (tenant, document_id, collection, title, source, latest_version, latest_change, outcome,
    created_at, updated_at, job_id, waiting)
VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, 'waiting', ?7, ?7, ?8, 1)
ON CONFLICT DO UPDATE SET
    collection = iif(chunk_version IS NULL AND ?6 = 'put', excluded.collection, collection),
    title = iif(chunk_version IS NULL AND ?6 = 'put', excluded.title, title),
    source = iif(chunk_version IS NULL AND ?6 = 'put', excluded.source, source),
    created_at = iif(listed, created_at, excluded.created_at),
    updated_at = iif(chunk_version IS NULL, excluded.updated_at, updated_at),
    latest_version = latest_version + 1,
    latest_change = excluded.latest_change,
    outcome = 'waiting',
    error = NULL,
    job_id = excluded.job_id,
    waiting = waiting + 1
RETURNING latest_version
