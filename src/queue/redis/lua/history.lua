-- Intervals of the history.
-- ARGV[4] how many intervals ago the first one was, ARGV[5] how many
-- Returns each that is there: when it began (milliseconds), and its names and counts.

local first, count = take_number(), take_number()
local present = math.floor(now / HISTORY_INTERVAL)
local intervals = {}
for ago = first, first - count + 1, -1 do
  local fields = redis.call('HGETALL', q .. 'history:' .. text(present - ago))
  if #fields > 0 then
    intervals[#intervals + 1] = { (present - ago) * HISTORY_INTERVAL, fields }
  end
end
return intervals
