-- Adds what calls for a job cost to its record, whoever has the job now.
-- ARGV[4] id, ARGV[5] worker, ARGV[6] delivery, ARGV[7] the cost (see add_cost)
-- Returns 1, or 0 if the job is gone.

local id = take()
local meta, by = q .. 'meta:' .. id, take() .. '/' .. take()
local line = redis.call('HGET', q .. 'first', id)
if line then
  spell_out(in_first(id, line))
elseif redis.call('EXISTS', meta) == 0 then
  return 0
end
if again and redis.call('HGET', meta, 'spent_by') == by then
  return 1
end
add_cost({ id = id }, take())
redis.call('HSET', meta, 'spent_by', by)
return 1
