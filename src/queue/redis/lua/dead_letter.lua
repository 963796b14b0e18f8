-- One dead letter in full.
-- ARGV[4] id
-- Returns nothing if there is none, else its data, its `meta` (field, value, ...), and its attempts.

local id = take()
local job = load(id)
if not job or job.status ~= 'dead' then
  return false
end
return {
  redis.call('HGET', q .. 'data', id),
  redis.call('HGETALL', q .. 'meta:' .. id),
  redis.call('LRANGE', q .. 'attempts:' .. id, 0, -1),
}
