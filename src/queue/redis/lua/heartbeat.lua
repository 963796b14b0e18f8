-- Says that a worker lives.
-- ARGV[4] worker, ARGV[5] what it announces (JSON), ARGV[6] lease (milliseconds)
-- Returns nothing.

local worker, info, lease = take(), take(), take_number()
local lease_until = tonumber(redis.call('ZSCORE', q .. 'workers', worker))
if not lease_until or lease_until <= now then
  -- What it fetched before it lived was nothing, and nothing else may wake it for what waits.
  wake_all()
end
redis.call('ZADD', q .. 'workers', now + lease, worker)
redis.call('HSET', q .. 'workers:info', worker, now .. ' ' .. info)
return redis.status_reply('OK')
