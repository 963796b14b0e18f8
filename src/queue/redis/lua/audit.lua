-- The audit log, newest first.
-- ARGV[4] only entries before this number (empty: from the newest), ARGV[5] at most so many
-- Returns each entry: `number instant JSON`.

local before, limit = take(), take_number()
return redis.call('ZREVRANGEBYSCORE', q .. 'audit', before == '' and '+inf' or '(' .. before, '-inf', 'LIMIT', 0, limit)
