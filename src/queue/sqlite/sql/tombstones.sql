-- Forgets documents that are gone for long, whose chunks are swept and that no job can bring back.
-- ?1 gone at or before, ?2 at most so many
DELETE FROM documents WHERE (tenant, document_id) IN (
    SELECT tenant, document_id FROM documents
    WHERE chunk_version IS NULL AND updated_at <= ?1 AND waiting = 0 AND dead = 0 AND revision <= swept
    LIMIT ?2
)
