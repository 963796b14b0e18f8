-- Writes a small shared value, whose version was compared in the same transaction.
-- ?1 name, ?2 version, ?3 value
INSERT INTO cells (name, version, value) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, value = excluded.value
