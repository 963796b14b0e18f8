-- Adds an entry to the audit log, once: the answer may have been lost, and a call that a server slept through may even
-- come after the one that was sent for it.
-- ARGV[4] what tells the entry from all others (empty: nothing), ARGV[5] the entry (JSON)
-- Returns nothing.

-- How long it is remembered that the entry is there (milliseconds): much longer than any call is on its way.
local REMEMBERED = 3600000

local key, entry = take(), take()
local mark = key ~= '' and q .. 'noted:' .. key
if not mark or redis.call('EXISTS', mark) == 0 then
  local number = redis.call('HINCRBY', q .. 'counters', 'audit', 1)
  -- The number makes each member another one.
  redis.call('ZADD', q .. 'audit', number, text(number) .. ' ' .. instant .. ' ' .. entry)
  -- Last: whatever breaks a script off, an entry that is marked is there.
  if mark then
    redis.call('SET', mark, '1', 'PX', REMEMBERED)
  end
end
return redis.status_reply('OK')
