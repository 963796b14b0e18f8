-- One of a document's waiting jobs became final.
-- ?1 tenant, ?2 document_id, ?3 version, ?4 outcome, ?5 error, ?6 1 if it can be replayed, ?7 1 if it may have
-- left chunks in the index
UPDATE documents SET waiting = waiting - 1, dead = dead + ?6, revision = revision + ?7,
    outcome = iif(latest_version = ?3, ?4, outcome),
    error = iif(latest_version = ?3, ?5, error)
WHERE tenant = ?1 AND document_id = ?2
