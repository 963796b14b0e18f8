-- How jobs stand.
-- ARGV[4..] ids
-- Returns the status of each, empty for one that is not there.

local statuses, id = {}, take()
while id do
  local job = load(id)
  statuses[#statuses + 1] = job and job.status or ''
  id = take()
end
return statuses
