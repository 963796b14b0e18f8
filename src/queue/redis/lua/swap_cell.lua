-- Puts a small shared value in the place of the version that its writer knows.
-- ARGV[4] name, ARGV[5] that version, ARGV[6] the new value, ARGV[7] 1: tell those who watch
-- Returns 1 (applied) or 0 (another version is there), then the version, the value and the present instant.

local name, expected, value, told = take(), take(), take(), take() == '1'
local version, held = string.match(redis.call('HGET', q .. 'cells', name) or '0 ', '^(%d+) (.*)$')
local next_version = text(tonumber(expected) + 1)
if again and version == next_version and held == value then
  return { 1, version, value, instant }
end
if version ~= expected then
  return { 0, version, held, instant }
end
redis.call('HSET', q .. 'cells', name, next_version .. ' ' .. value)
if told then
  redis.call('PUBLISH', q .. 'cell:' .. name, next_version .. ' ' .. origin .. ' ' .. instant .. ' ' .. value)
end
return { 1, next_version, value, instant }
