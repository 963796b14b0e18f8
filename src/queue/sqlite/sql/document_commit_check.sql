-- What decides whether an ingestion may be applied.
-- ?1 tenant, ?2 document_id
-- Returns applied_version, content_hash, claim_until.
SELECT applied_version, content_hash, claim_until FROM documents WHERE tenant = ?1 AND document_id = ?2
