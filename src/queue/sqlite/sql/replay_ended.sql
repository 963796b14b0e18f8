-- A replay has ended: it looks for none of its letters any more.
-- ?1 job
DELETE FROM replays_waiting WHERE replay = ?1
