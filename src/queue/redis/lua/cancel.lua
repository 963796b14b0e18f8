-- Cancels a job unless it is final.
-- ARGV[4] id, ARGV[5] tenant
-- Returns the list of changed jobs: id, status.

local id, tenant = take(), take()
local job = load(id)
if job and job.foreign and tenant == 'default' then
  job = adopt(id, 1)
end
local final = { completed = true, dead = true, cancelled = true }
if job and job.tenant == tenant and not final[job.status] then
  cancel(job)
  note_drain(1)
end
return changed
