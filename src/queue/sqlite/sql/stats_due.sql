-- How many scheduled jobs are due.
-- ?1 now
SELECT count(*) FROM jobs WHERE status = 'scheduled' AND due_at <= ?1
