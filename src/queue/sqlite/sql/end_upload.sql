-- Drops the uploaded bytes of a job that can't run again.
-- ?1 job
DELETE FROM uploads WHERE job = ?1
