-- Takes note of a version whose content is what is seen already.
-- ?1 tenant, ?2 document_id, ?3 version
UPDATE documents SET applied_version = ?3 WHERE tenant = ?1 AND document_id = ?2 AND applied_version < ?3
