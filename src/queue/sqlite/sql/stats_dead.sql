-- Dead letters per reason and kind.
-- Returns reason, kind, count.
SELECT reason, kind, count(*) FROM jobs WHERE status = 'dead' GROUP BY reason, kind
