-- Reads a job's log from an entry on, and marks it as being read unless the job is final.
-- ARGV[4] id, ARGV[5] tenant, ARGV[6] index of the first entry, ARGV[7] at most so many, ARGV[8] how long the mark
-- holds (milliseconds)
-- Returns nothing if there is no such job of the tenant, else its status, the length of the log, its result (JSON or
-- empty), the entries.

local id, tenant, from, limit, hold = take(), take(), take_number(), take_number(), take_number()
local job = load(id)
if not job or job.tenant ~= tenant then
  return false
end
local final = { completed = true, dead = true, cancelled = true }
if not final[job.status] then
  redis.call('ZADD', q .. 'readers', now + hold, id)
end
local key = q .. 'events:' .. id
local length, entries
if job.first then
  local all = log_of(job)
  length, entries = #all, {}
  for i = from + 1, math.min(from + limit, length) do
    entries[#entries + 1] = all[i]
  end
else
  length, entries = redis.call('LLEN', key), limit > 0 and redis.call('LRANGE', key, from, from + limit - 1) or {}
end
return { job.status, length, job.status == 'completed' and redis.call('HGET', q .. 'results', id) or '', entries }
