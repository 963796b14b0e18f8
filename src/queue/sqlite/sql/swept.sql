-- A claimed document was swept: ends the claim, and the need unless the registry has moved on.
-- ?1 tenant, ?2 document_id, ?3 applied_version
UPDATE documents SET swept = iif(applied_version = ?3, max(swept, claim), swept), claim = NULL, claim_until = NULL
WHERE tenant = ?1 AND document_id = ?2 AND claim IS NOT NULL
