-- Since when the job that has been queued longest has been.
SELECT min(queued_at) FROM jobs WHERE status = 'queued'
