-- Size of a job's payload.
-- ?1 job
SELECT octet_length(payload) FROM jobs WHERE job = ?1
