-- Makes the chunks of a version those that are seen.
-- ?1 tenant, ?2 document_id, ?3 version, ?4 collection, ?5 title, ?6 source, ?7 content_hash, ?8 chunks,
-- ?9 size_bytes, ?10 now, ?11 embedding_model
UPDATE documents SET applied_version = ?3, chunk_version = ?3, collection = ?4, title = ?5, source = ?6,
    content_hash = ?7, chunks = ?8, size_bytes = ?9, updated_at = ?10, embedding_model = ?11
WHERE tenant = ?1 AND document_id = ?2 AND applied_version < ?3
