-- A small shared value.
-- ?1 name
-- Returns version, value.
SELECT version, value FROM cells WHERE name = ?1
