-- Stores what was retrieved for a running job and writes it to its log.
-- ARGV[4] id, ARGV[5] worker, ARGV[6] delivery, ARGV[7] context (JSON), ARGV[8] citations (JSON)
-- Returns 1 (applied) or 0 (stale).

local id, worker, delivery, context, citations = take(), take(), take(), take(), take()
local job = held(id, worker, delivery)
if not job then
  return 0
end
if job.context and redis.call('HGET', q .. 'contexts', id) == context then
  return 1
end
spell_out(job)
redis.call('HSET', q .. 'contexts', id, context)
redis.call('HSET', q .. 'meta:' .. id, 'context', 1)
log(job, 'passages ' .. citations)
announce(id, 'running')
return 1
