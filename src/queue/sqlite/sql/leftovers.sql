-- Claims documents that have superseded chunks in the index and no job that might write others.
-- ?1 at most so many, ?2 the claim holds until
-- Returns tenant, document_id, chunk_version, applied_version.
UPDATE documents SET claim = revision, claim_until = ?2
WHERE (tenant, document_id) IN (
    SELECT tenant, document_id FROM documents WHERE revision > swept AND waiting = 0 LIMIT ?1
)
RETURNING tenant, document_id, chunk_version, applied_version
