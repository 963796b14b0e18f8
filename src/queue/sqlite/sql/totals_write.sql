-- Stores the totals.
-- ?1 to ?6 the counts in the order of the statuses, ?7 bytes, ?8 place
UPDATE totals SET queued = ?1, scheduled = ?2, running = ?3, completed = ?4, dead = ?5, cancelled = ?6, bytes = ?7,
    place = ?8
