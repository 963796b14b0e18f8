-- Cancels jobs of one kind and status, or counts them. Cancels once: the answer may have been lost.
-- ARGV[4] what tells this step from all others, ARGV[5] kind, ARGV[6] status, ARGV[7] leaves out the first so many,
-- ARGV[8] looks at so many at most, ARGV[9] 1: only counts them
-- Returns how many it looked at, how many of these are of the kind, how many it cancelled; the list of changed jobs: id,
-- status.

-- How long it is remembered what a step did (milliseconds): longer than any call is on its way.
local REMEMBERED = 60000

local mark = q .. 'cancelled_some:' .. take()
local kind, status, skip, max, dry_run = take(), take(), take_number(), take_number(), take() == '1'
local done = again and redis.call('GET', mark)
if done then
  return cjson.decode(done)
end
local ids = {}
if status == 'queued' then
  for _, priority in ipairs({ 'high', 'normal', 'low' }) do
    local key = q .. 'queued:' .. kind .. ':' .. priority
    local there = redis.call('ZCARD', key)
    for _, id in ipairs(redis.call('ZRANGE', key, skip, skip + max - #ids - 1)) do
      ids[#ids + 1] = id
    end
    skip = math.max(skip - there, 0)
    if #ids >= max then
      break
    end
  end
elseif status == 'running' then
  for _, member in ipairs(redis.call('ZRANGE', q .. 'inflight:' .. kind, skip, skip + max - 1)) do
    ids[#ids + 1] = string.match(member, ' (%S+)$')
  end
else
  ids = redis.call('ZRANGE', q .. 'scheduled', skip, skip + max - 1)
end

local matched, cancelled = 0, 0
for _, id in ipairs(ids) do
  local job = load(id)
  if job and not job.foreign and job.kind == kind and job.status == status then
    matched = matched + 1
    if not dry_run then
      cancel(job)
      cancelled = cancelled + 1
    end
  end
end
local answer = { #ids, matched, cancelled, changed }
if cancelled > 0 then
  note_drain(cancelled)
  redis.call('SET', mark, cjson.encode(answer), 'PX', REMEMBERED)
end
return answer
