-- How many jobs of each kind are queued and running.
-- Returns kind, status, how many.
SELECT kind, 'queued', count(*) FROM jobs WHERE status = 'queued' GROUP BY kind
UNION ALL SELECT kind, 'running', count(*) FROM jobs WHERE status = 'running' GROUP BY kind
