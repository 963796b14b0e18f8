-- A dead ingestion of the document was removed.
-- ?1 tenant, ?2 document_id, ?3 version, ?4 now
UPDATE documents SET dead = dead - 1,
    outcome = iif(latest_version = ?3, 'dropped', outcome),
    updated_at = iif(chunk_version IS NULL, ?4, updated_at)
WHERE tenant = ?1 AND document_id = ?2
