-- A tenant's collections.
-- ARGV[4] tenant
-- Returns for each its name, documents, chunks, bytes.

local tenant = take()
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', q .. 'collections:' .. tenant)) do
  local sums = redis.call('HMGET', q .. 'collection:' .. tenant .. ':' .. name, 'documents', 'chunks', 'size_bytes')
  found[#found + 1] = name
  for i = 1, 3 do
    found[#found + 1] = sums[i] or '0'
  end
end
return found
