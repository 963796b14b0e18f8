-- Adds an entry to the audit log.
-- ARGV[4] the entry (JSON)
-- Returns nothing.

local number = redis.call('HINCRBY', q .. 'counters', 'audit', 1)
-- The number makes each member another one.
redis.call('ZADD', q .. 'audit', number, text(number) .. ' ' .. instant .. ' ' .. take())
return redis.status_reply('OK')
