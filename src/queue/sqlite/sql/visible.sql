-- The collection and version of a document that are seen.
-- ?1 tenant, ?2 document_id
-- Returns collection, chunk_version; no row: nothing is seen.
SELECT collection, chunk_version FROM documents
WHERE tenant = ?1 AND document_id = ?2 AND chunk_version IS NOT NULL
