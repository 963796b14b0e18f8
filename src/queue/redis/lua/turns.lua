-- The last turns of a conversation, newest first.
-- ARGV[4] tenant, ARGV[5] conversation, ARGV[6] at most so many
-- Returns each turn (JSON).

local tenant, conversation, limit = take(), take(), take_number()
local turns = {}
for _, id in ipairs(redis.call('ZREVRANGE', q .. 'turns:' .. tenant .. ':' .. conversation, 0, limit - 1)) do
  turns[#turns + 1] = redis.call('HGET', q .. 'turn', id) or nil
end
return turns
