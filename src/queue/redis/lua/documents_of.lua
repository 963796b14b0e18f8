-- Documents of a tenant by id, or in order of their ids.
-- ARGV[4] tenant; ARGV[5] 'ids' and ARGV[6..] the ids; or 'after', ARGV[6] the collection (empty: any), ARGV[7] after
-- this id, ARGV[8] at most so many
-- Returns for each that is listed its id and its record (field, value, ...).

local tenant, how = take(), take()
local ids = {}
if how == 'ids' then
  local id = take()
  while id do
    ids[#ids + 1] = id
    id = take()
  end
else
  local collection, after, limit = take(), take(), take_number()
  local list = q .. 'documents:' .. tenant .. (collection ~= '' and ':' .. collection or '')
  ids = redis.call('ZRANGEBYLEX', list, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)
end
local found = {}
for _, id in ipairs(ids) do
  local document = read_document(tenant, id)
  if document and listed(document) then
    found[#found + 1] = id
    found[#found + 1] = redis.call('HGETALL', q .. 'document:' .. tenant .. ':' .. id)
  end
end
return found
