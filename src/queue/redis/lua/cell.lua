-- Reads a small shared value.
-- ARGV[4] name
-- Returns its version (0: never written), its value, and the present instant.

local version, value = string.match(redis.call('HGET', q .. 'cells', take()) or '0 ', '^(%d+) (.*)$')
return { version, value, instant }
