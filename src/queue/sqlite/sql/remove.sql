-- Removes a job with all that hangs on it.
-- ?1 job
DELETE FROM jobs WHERE job = ?1
