-- Removes entries of the audit log whose retention is over.
-- ?1 noted at or before, ?2 at most so many
DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at <= ?1 ORDER BY at LIMIT ?2)
