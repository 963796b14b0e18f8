-- What an earlier attempt of a job retrieved.
-- ?1 job
SELECT context FROM contexts WHERE job = ?1
