-- Adds an entry to the audit log.
-- ?1 now, ?2 the entry (JSON)
INSERT INTO audit (at, note) VALUES (?1, ?2)
