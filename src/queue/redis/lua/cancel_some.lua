-- Cancels jobs of one kind and status, or counts them.
-- ARGV[4] kind, ARGV[5] status, ARGV[6] leaves out the first so many, ARGV[7] looks at so many at most, ARGV[8] 1: only
-- counts them
-- Returns how many it looked at, how many of these are of the kind, how many it cancelled; the list of changed jobs: id,
-- status.

local kind, status, skip, max, dry_run = take(), take(), take_number(), take_number(), take() == '1'
local ids, seen = {}, 0
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
if cancelled > 0 then
  note_drain(cancelled)
end
return { #ids, matched, cancelled, changed }
