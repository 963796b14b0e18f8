-- All workers known.
-- Returns their ids.
SELECT id FROM workers
