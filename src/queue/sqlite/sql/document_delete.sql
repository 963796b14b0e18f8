-- Makes a document unseen; its row stays, so that versions go on rising.
-- ?1 tenant, ?2 document_id, ?3 version, ?4 now
UPDATE documents SET applied_version = ?3, chunk_version = NULL, content_hash = NULL, chunks = 0, size_bytes = 0,
    updated_at = ?4
WHERE tenant = ?1 AND document_id = ?2 AND applied_version < ?3
