-- One document as listed.
-- ?1 tenant, ?2 document_id
-- Returns the columns of a document record.
SELECT document_id, title, source, collection, chunk_version, content_hash, applied_version, chunks, size_bytes,
    created_at, updated_at, job_id, error, latest_change, outcome, waiting, embedding_model
FROM documents WHERE tenant = ?1 AND document_id = ?2 AND listed
