-- The queue in figures.
-- Returns the instant; how many jobs are queued, scheduled, running, completed, dead, cancelled; how many of the
-- scheduled are due; since when the longest waiting one is queued (-1: none); the paused kinds; for each live
-- worker its jobs in flight, when it was heard of and what it announced (`instant JSON`).

local queued, running, oldest = 0, 0, -1
for _, kind in ipairs({ 'chat', 'ingest', 'replay' }) do
  running = running + redis.call('ZCARD', q .. 'inflight:' .. kind)
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
return {
  now,
  { queued, redis.call('ZCARD', q .. 'scheduled'), running, redis.call('ZCARD', q .. 'done'),
    redis.call('ZCARD', q .. 'dead'), redis.call('ZCARD', q .. 'cancelled') },
  redis.call('ZCOUNT', q .. 'scheduled', '-inf', now / 1000),
  oldest,
  redis.call('SMEMBERS', q .. 'paused'),
  workers,
}
