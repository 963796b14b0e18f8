-- A dead ingestion of the document waits again.
-- ?1 tenant, ?2 document_id, ?3 version
UPDATE documents SET waiting = waiting + 1, dead = dead - 1,
    outcome = iif(latest_version = ?3, 'waiting', outcome),
    error = iif(latest_version = ?3, NULL, error)
WHERE tenant = ?1 AND document_id = ?2
