-- Adds what a process counted to the present interval of the history, and notes how many jobs there are.
-- ARGV[4..] name and count, name and count
-- Returns nothing.

local key = history_key()
local name = take()
while name do
  redis.call('HINCRBY', key, name, take())
  name = take()
end
local levels, rest = {}, redis.call('ZCARD', q .. 'scheduled')
for _, kind in ipairs({ 'replay', 'ingest', 'chat' }) do
  local queued = 0
  for _, priority in ipairs({ 'high', 'normal', 'low' }) do
    queued = queued + redis.call('ZCARD', q .. 'queued:' .. kind .. ':' .. priority)
  end
  -- What other producers push is taken for a question: those are all that are nothing else.
  local scheduled = kind == 'chat' and rest or redis.call('SCARD', q .. 'scheduled:' .. kind)
  rest = rest - scheduled
  local running = redis.call('ZCARD', q .. 'inflight:' .. kind)
  for _, level in ipairs({ kind .. ':queued', queued, kind .. ':scheduled', scheduled, kind .. ':running', running }) do
    levels[#levels + 1] = level
  end
end
redis.call('HSET', key, unpack(levels))
redis.call('PEXPIRE', key, HISTORY_KEPT)
return redis.status_reply('OK')
