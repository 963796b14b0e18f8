-- Forgets intervals.
-- ?1 those that began before
DELETE FROM history WHERE at < ?1
