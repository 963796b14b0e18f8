-- Queues a dead letter again.
-- ARGV[4] id, ARGV[5] 1: with another payload, ARGV[6] that payload (JSON)
-- Returns 1, or 0 if there is no such dead letter; and the list of changed jobs: id, status.

local id, edited, payload = take(), take() == '1', take()
local job = load(id)
if not job or job.status ~= 'dead' then
  return { 0, changed }
end
replay(job, edited and payload or nil)
return { 1, changed }
