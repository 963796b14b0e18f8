-- A worker leaves: what it holds is handed back uncounted, in steps.
-- ARGV[4] worker, ARGV[5] at most so many jobs in this step
-- Returns how many jobs were handed back, and the list of changed jobs: id, status. The worker is forgotten by the
-- step that hands back less than its most.

local worker, limit = take(), take_number()
local handed_back = each_held(worker, limit, hand_back)
if handed_back < limit then
  forget_worker(worker)
end
-- A token that this worker took in its last moments is lost to the others.
wake_all()
return { handed_back, changed }
