-- Which of the given documents are seen.
-- ARGV[4] tenant, ARGV[5..] ids
-- Returns for each id its collection and the version that is seen, empty ones if it is not.

local tenant, id = take(), take()
local seen = {}
while id do
  local fields = redis.call('HMGET', q .. 'document:' .. tenant .. ':' .. id, 'collection', 'chunk_version')
  seen[#seen + 1] = fields[1] or ''
  seen[#seen + 1] = fields[2] or ''
  id = take()
end
return seen
