-- A worker leaves: what it holds is handed back uncounted, in steps.
-- ARGV[4] worker, ARGV[5] at most so many jobs in this step
-- Returns how many jobs were handed back, and the list of changed jobs: id, status. The worker is forgotten by the
-- step that hands back less than its most.

local worker, limit = take(), take_number()
local handed_back = 0
for _, kind in ipairs(KINDS) do
  for _, member in ipairs(held_by(worker, kind, limit - handed_back)) do
    local job = load(string.sub(member, #worker + 2))
    if job and job.status == 'running' and job.worker == worker then
      hand_back(job)
    else
      redis.call('ZREM', q .. 'inflight:' .. kind, member)
    end
    handed_back = handed_back + 1
  end
end
if handed_back < limit then
  forget_worker(worker)
end
-- A token that this worker took in its last moments is lost to the others.
wake_all()
return { handed_back, changed }
