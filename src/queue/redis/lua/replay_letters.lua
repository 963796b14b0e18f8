-- One step of a replay under its lease: looks what became of letters that it put back earlier, and puts back more,
-- newest first. What it has done stands in the hash `replay:ID`, the letters that have not ended yet in the list
-- `replay:ID:waiting`.
-- ARGV[4] id, ARGV[5] worker, ARGV[6] delivery, ARGV[7] looks at so many letters at most, ARGV[8] puts back so many at
-- most, ARGV[9] how many it is for altogether, ARGV[10] of those dead by this instant, ARGV[11] 1: writes to its log,
-- ARGV[12..] the selection: reason, code, kind (each empty: any), how many ids (none: any), ids
-- Returns nothing if the lease is stale, else how many letters were put back, how many of them just now, how many ended,
-- failed again, at most failed again with one code, 1 if none is left to put back, and the list of changed jobs: id,
-- status.

local id, worker, delivery, looks, max, matched, dead_by, tell =
  take(), take(), take(), take_number(), take_number(), take_number(), take(), take() == '1'
local selection = take_selection()
local job = held(id, worker, delivery)
if not job then
  return false
end
local key = q .. 'replay:' .. id
local waiting_key = key .. ':waiting'
local known = {}
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  known[fields[i]] = fields[i + 1]
end
local function number(field)
  return tonumber(known[field]) or 0
end
local before = number('replayed')
local function add(field, count)
  known[field] = number(field) + count
end

-- Those that have not ended go to the back of the list, so that all get their turn.
local unfinished = { queued = true, scheduled = true, running = true }
local waiting = {}
for _, letter in ipairs(redis.call('LPOP', waiting_key, looks) or {}) do
  local meta = redis.call('HMGET', q .. 'meta:' .. letter, 'status', 'code')
  if unfinished[meta[1]] then
    waiting[#waiting + 1] = letter
  else
    add('ended', 1)
    if meta[1] == 'dead' then
      add('failed_again', 1)
      add('code:' .. (meta[2] or ''), 1)
    end
  end
end

local room = math.max(math.min(max, matched - number('replayed')), 0)
local function put_back(letter)
  replay(letter)
  waiting[#waiting + 1] = letter.id
  add('replayed', 1)
end
local ids = selection.ids
if room == 0 then
  known.exhausted = number('replayed') >= matched and 1 or known.exhausted
elseif #ids > 0 then
  local from = number('seen')
  for i = from + 1, math.min(from + room, #ids) do
    local letter = selected(selection, ids[i])
    if letter and letter.finished_at <= tonumber(dead_by) then
      put_back(letter)
    end
    known.seen = i
  end
  known.exhausted = number('seen') >= #ids and 1 or known.exhausted
else
  local found = letters_before(sets_of(selection), known.at or dead_by, known.before or '~', room)
  for _, one in ipairs(found) do
    local letter = selected(selection, one.id)
    if letter then
      put_back(letter)
    end
    known.at, known.before = one.at, one.id
  end
  known.exhausted = (#found < room or number('replayed') >= matched) and 1 or known.exhausted
end
if #waiting > 0 then
  redis.call('RPUSH', waiting_key, unpack(waiting))
end

known.matched = matched
local write = {}
for field, value in pairs(known) do
  write[#write + 1] = field
  write[#write + 1] = type(value) == 'number' and string.format('%d', value) or value
end
redis.call('HSET', key, unpack(write))
local same_code = 0
for field, value in pairs(known) do
  if string.sub(field, 1, 5) == 'code:' then
    same_code = math.max(same_code, tonumber(value))
  end
end
local exhausted = number('exhausted')
if tell then
  log(job, 'progress ' .. cjson.encode({
    matched = matched, replayed = number('replayed'), failed_again = number('failed_again'),
    skipped = exhausted == 1 and math.max(matched - number('replayed'), 0) or 0,
  }))
end
announce(id, 'running')
return { number('replayed'), number('replayed') - before, number('ended'), number('failed_again'), same_code, exhausted, changed }
