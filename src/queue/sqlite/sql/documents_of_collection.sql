-- A page of a collection's documents by id.
-- ?1 tenant, ?2 after this id, ?3 at most so many, ?4 collection
-- Returns the columns of a document record.
SELECT document_id, title, source, collection, chunk_version, content_hash, applied_version, chunks, size_bytes,
    created_at, updated_at, job_id, error, latest_change, outcome, waiting, embedding_model
FROM documents WHERE tenant = ?1 AND collection = ?4 AND document_id > ?2 AND listed ORDER BY document_id LIMIT ?3
