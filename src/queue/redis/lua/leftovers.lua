-- Claims documents that have superseded chunks in the index and no job that might write others.
-- ARGV[4] at most so many, ARGV[5] how long the claim holds (milliseconds)
-- Returns for each tenant, id, the version that is seen (empty: none), the highest applied one.

local limit, hold = take_number(), take_number()
local claimed = {}
for _, key in ipairs(redis.call('ZRANGE', q .. 'sweeps', 0, limit - 1)) do
  local tenant, id = string.match(key, '^([^:]*):(.*)$')
  local document = read_document(tenant, id)
  if document then
    redis.call('HSET', q .. 'document:' .. key, 'claim', document.revision, 'claim_until', now + hold)
    claimed[#claimed + 1] = tenant
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = document.chunk_version or ''
    claimed[#claimed + 1] = document.applied_version
  else
    redis.call('ZREM', q .. 'sweeps', key)
  end
end
return claimed
