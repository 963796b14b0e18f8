-- The uploaded bytes of a job's document.
-- ARGV[4] id
-- Returns nothing if the job is gone, else the bytes, which may be none.

local id = take()
if redis.call('HEXISTS', q .. 'data', id) == 0 then
  return false
end
return { redis.call('GET', q .. 'upload:' .. id) or '' }
