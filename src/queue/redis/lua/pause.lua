-- Stops handing out kinds of jobs, or hands them out again.
-- ARGV[4] 'pause' or 'resume', ARGV[5..] kinds
-- Returns nothing.

local verb, kind = take(), take()
while kind do
  if verb == 'pause' then
    redis.call('SADD', q .. 'paused', kind)
  else
    redis.call('SREM', q .. 'paused', kind)
    wake(kind)
  end
  kind = take()
end
return redis.status_reply('OK')
