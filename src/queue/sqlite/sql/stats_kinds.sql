-- Jobs that are not final, per status and kind.
-- Returns status, kind, count.
SELECT 'queued', kind, count(*) FROM jobs WHERE status = 'queued' GROUP BY kind
UNION ALL
SELECT 'scheduled', kind, count(*) FROM jobs WHERE status = 'scheduled' GROUP BY kind
UNION ALL
SELECT 'running', kind, count(*) FROM jobs WHERE status = 'running' GROUP BY kind
