-- Queues a dead letter again: all counters but the delivery number start again, so does its deadline.
-- ARGV[4] id, ARGV[5] 1: with another payload, ARGV[6] that payload (JSON)
-- Returns 1, or 0 if there is no such dead letter; and the list of changed jobs: id, status.

local id, edited, payload = take(), take() == '1', take()
local job = load(id)
if not job or job.status ~= 'dead' then
  return { 0, changed }
end
exhume(job)
if job.kind == 'ingest' then
  document_letter_taken(job, 'waiting')
end
local data = redis.call('HGET', q .. 'data', id)
local line_end = string.find(data, '\n', 1, true)
local before = string.sub(data, line_end + 1)
local bytes = job.bytes + (edited and #payload - #before or 0)
local head = string.gsub(string.sub(data, 1, line_end - 1), ',"replayed_at":%d+', '', 1)
head = string.gsub(head, '^1{"bytes":%d+', '1{"bytes":' .. bytes .. ',"replayed_at":' .. now, 1)
redis.call('HSET', q .. 'data', id, head .. '\n' .. (edited and payload or before))
redis.call('HINCRBY', q .. 'counters', 'bytes', bytes)
redis.call('UNLINK', q .. 'meta:' .. id)
redis.call('HSET', q .. 'meta:' .. id, 'delivery', job.delivery)
job = load(id)
log(job, 'replayed')
enqueue(job, next_place(), 0)
return { 1, changed }
