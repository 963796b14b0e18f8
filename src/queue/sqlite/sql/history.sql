-- The numbers of intervals.
-- ?1 those that began at or after
SELECT at, name, number FROM history WHERE at >= ?1 ORDER BY at
