-- All causes of dead letters.
-- Returns for each the cause (`reason:code:kind`) and how many letters share it.

local causes = {}
for _, cause in ipairs(redis.call('SMEMBERS', q .. 'dead:causes')) do
  causes[#causes + 1] = cause
  causes[#causes + 1] = redis.call('ZCARD', q .. 'dead:' .. cause)
end
return causes
