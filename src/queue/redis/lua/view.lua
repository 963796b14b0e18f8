-- A job as its owner sees it.
-- ARGV[4] id, ARGV[5] tenant
-- Returns nothing if there is no such job of the tenant, else its header (JSON, empty for a job pushed by another
-- producer), its `meta` as field, value, field, value, its result (JSON or empty), and for a queued one how many
-- stand before it in its list, then how many jobs of its kind wait with high, normal and low priority (-1: not
-- queued); for a replay that has begun how many letters it was for, put back, saw end and fail again, and 1 if none is
-- left.

local id, tenant = take(), take()
local job = load(id)
if not job or job.tenant ~= tenant then
  return false
end
local rank = -1
local waiting = {}
if job.status == 'queued' then
  rank = redis.call('ZRANK', queue_key(job), id) or -1
  for i, priority in ipairs({ 'high', 'normal', 'low' }) do
    waiting[i] = redis.call('ZCARD', q .. 'queued:' .. job.kind .. ':' .. priority)
  end
end
local data = redis.call('HGET', q .. 'data', id)
return {
  job.foreign and '' or string.sub(data, 2, string.find(data, '\n', 1, true) - 1),
  job.foreign and {} or job.first and meta_of(job) or redis.call('HGETALL', q .. 'meta:' .. id),
  job.status == 'completed' and redis.call('HGET', q .. 'results', id) or '',
  { rank, waiting[1] or 0, waiting[2] or 0, waiting[3] or 0 },
  job.kind == 'replay' and redis.call('HMGET', q .. 'replay:' .. id, 'matched', 'replayed', 'ended', 'failed_again',
    'exhausted') or {},
}
