-- Removes a dead letter for good.
-- ARGV[4] id
-- Returns 1, or 0 if there is no such dead letter. Sent again since its answer was lost, it finds what it did.

local job = load(take())
if not job and again then
  return 1
end
if not job or job.status ~= 'dead' then
  return 0
end
remove(job)
announce(job.id, 'dead')
return 1
