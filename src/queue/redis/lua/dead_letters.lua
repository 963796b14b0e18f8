-- Dead letters, newest first.
-- ARGV[4] and ARGV[5] only those before this instant and id (empty: from the newest), ARGV[6] at most so many,
-- ARGV[7..] the sets to look in: '' for all letters, else causes
-- Returns id, header (JSON), `meta` (field, value, ...) of each.

local at, before, limit = take(), take(), take_number()
local keys = {}
local cause = take()
while cause do
  keys[#keys + 1] = q .. (cause == '' and 'dead' or 'dead:' .. cause)
  cause = take()
end

local letters = {}
for _, found in ipairs(letters_before(keys, at, before, limit)) do
  local data = redis.call('HGET', q .. 'data', found.id)
  if data then
    letters[#letters + 1] = found.id
    letters[#letters + 1] = string.sub(data, 2, string.find(data, '\n', 1, true) - 1)
    letters[#letters + 1] = redis.call('HGETALL', q .. 'meta:' .. found.id)
  end
end
return letters
