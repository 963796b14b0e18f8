-- Adds an entry to the audit log, unless it is there.
-- ?1 now, ?2 the entry (JSON)
INSERT INTO audit (at, note) VALUES (?1, ?2) ON CONFLICT (note ->> 'action_id', note ->> 'stage') DO NOTHING
