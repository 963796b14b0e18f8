-- A tenant's collections by name.
-- ?1 tenant
-- Returns name, documents, chunks, size_bytes.
SELECT name, documents, chunks, size_bytes FROM collections WHERE tenant = ?1 ORDER BY name
