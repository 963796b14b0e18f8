-- Dead letters, newest first.
-- ARGV[4] and ARGV[5] only those before this instant and id (empty: from the newest), ARGV[6] at most so many,
-- ARGV[7..] the sets to look in: '' for all letters, else causes
-- Returns id, header (JSON), `meta` (field, value, ...) of each.

local at, before, limit = take(), take(), take_number()
local found = {}
local function collect(key, from, to, ...)
  local letters = redis.call('ZREVRANGEBYSCORE', key, from, to, 'WITHSCORES', ...)
  for i = 1, #letters, 2 do
    local score = tonumber(letters[i + 1])
    if at == '' or score < tonumber(at) or letters[i] < before then
      found[#found + 1] = { id = letters[i], at = score }
    end
  end
end

local cause = take()
while cause do
  local key = q .. (cause == '' and 'dead' or 'dead:' .. cause)
  if at == '' then
    collect(key, '+inf', '-inf', 'LIMIT', 0, limit)
  else
    collect(key, at, at)
    collect(key, '(' .. at, '-inf', 'LIMIT', 0, limit)
  end
  cause = take()
end
table.sort(found, function(a, b)
  if a.at ~= b.at then
    return a.at > b.at
  end
  return a.id > b.id
end)

local letters = {}
for i = 1, math.min(limit, #found) do
  local data = redis.call('HGET', q .. 'data', found[i].id)
  if data then
    letters[#letters + 1] = found[i].id
    letters[#letters + 1] = string.sub(data, 2, string.find(data, '\n', 1, true) - 1)
    letters[#letters + 1] = redis.call('HGETALL', q .. 'meta:' .. found[i].id)
  end
end
return letters
