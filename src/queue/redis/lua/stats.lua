-- The queue in figures.
-- Returns the instant; how many jobs are scheduled, completed, dead, cancelled; how many of the scheduled are due;
-- for each kind how many of its jobs are queued, scheduled, running, and since when the longest waiting one is queued
-- (-1: none); the paused kinds; for each live worker its jobs in flight, when it was heard of and what it announced
-- (`instant JSON`); for each cause of dead letters (`reason:code:kind`) how many share it; what the server says of its
-- memory and its files (empty: it may not be asked).

local scheduled = redis.call('ZCARD', q .. 'scheduled')
local kinds, rest = {}, scheduled
for _, kind in ipairs({ 'replay', 'ingest', 'chat' }) do
  local queued, oldest = 0, -1
  for _, priority in ipairs({ 'high', 'normal', 'low' }) do
    local key = q .. 'queued:' .. kind .. ':' .. priority
    local waiting = redis.call('ZCARD', key)
    queued = queued + waiting
    if waiting > 0 then
      local job = load(redis.call('ZRANGE', key, 0, 0)[1])
      local since = job and (job.queued_at or job.created_at) or now
      oldest = oldest < 0 and since or math.min(oldest, since)
    end
  end
  -- What other producers push is scheduled as it is, and taken for a question: those are all that are nothing else.
  local waits = kind == 'chat' and rest or redis.call('SCARD', q .. 'scheduled:' .. kind)
  rest = rest - waits
  table.insert(kinds, 1, { queued, waits, redis.call('ZCARD', q .. 'inflight:' .. kind), oldest })
end
local workers = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', q .. 'workers', '(' .. now, '+inf', 'LIMIT', 0, 1000)) do
  local from, held = '[' .. worker .. ' ', 0
  for _, kind in ipairs({ 'chat', 'ingest', 'replay' }) do
    held = held + redis.call('ZLEXCOUNT', q .. 'inflight:' .. kind, from, from .. '\255')
  end
  workers[#workers + 1] = held
  workers[#workers + 1] = redis.call('HGET', q .. 'workers:info', worker) or ''
end
local causes = {}
for _, cause in ipairs(redis.call('SMEMBERS', q .. 'dead:causes')) do
  causes[#causes + 1] = cause
  causes[#causes + 1] = redis.call('ZCARD', q .. 'dead:' .. cause)
end
-- Not every managed server lets itself be asked.
local function info(section)
  local said = redis.pcall('INFO', section)
  return type(said) == 'string' and said or ''
end
return {
  now,
  { scheduled, redis.call('ZCARD', q .. 'done'), redis.call('ZCARD', q .. 'dead'), redis.call('ZCARD', q .. 'cancelled') },
  redis.call('ZCOUNT', q .. 'scheduled', '-inf', now / 1000),
  kinds,
  redis.call('SMEMBERS', q .. 'paused'),
  workers,
  causes,
  info('memory') .. info('persistence'),
}
