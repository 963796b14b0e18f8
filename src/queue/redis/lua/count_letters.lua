-- How many dead letters there are of a selection.
-- ARGV[4..] the selection: reason, code, kind (each empty: any), how many ids (none: any), ids
-- Returns how many, and the instant.

local selection, count = take_selection(), 0
if #selection.ids > 0 then
  for _, id in ipairs(selection.ids) do
    count = count + (selected(selection, id) and 1 or 0)
  end
else
  for _, key in ipairs(sets_of(selection)) do
    count = count + redis.call('ZCARD', key)
  end
end
return { count, now }
