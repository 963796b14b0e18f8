-- The document change that a job carries out.
-- ?1 job
SELECT data FROM changes WHERE job = ?1
