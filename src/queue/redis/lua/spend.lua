-- Adds what calls for a job cost to its record, whoever has the job now.
-- ARGV[4] id, ARGV[5] worker, ARGV[6] delivery, ARGV[7] calls, ARGV[8] prompt tokens, ARGV[9] completion tokens,
-- ARGV[10] wasted tokens
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
for _, field in ipairs({ 'calls', 'prompt_tokens', 'completion_tokens', 'wasted_tokens' }) do
  redis.call('HINCRBY', meta, field, take())
end
redis.call('HSET', meta, 'spent_by', by)
return 1
