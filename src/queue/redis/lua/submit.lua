-- Stores jobs, each with the document change it carries, within the queue's limits, which are not for replays.
-- ARGV[4] most unfinished jobs, ARGV[5] most bytes of them, ARGV[6] how many jobs follow; for each: id, tenant,
-- kind, priority, bytes, delay (milliseconds, 0: none), deadline (milliseconds, empty: none), idempotency key
-- (empty: none), fingerprint, header (JSON object without its opening brace), payload, and whether it changes
-- a document: 0, or 1 followed by id, change, collection, title, source of the document
-- Returns for each job what became of it: 'accepted', 'replayed' and the id of the job, 'mismatch', or 'full'
-- and how many jobs end per second; two elements each. Uploads are stored before, to expire, and kept here.

local max_jobs, max_bytes = take_number(), take_number()
local ids, jobs = {}, {}
for i = 1, take_number() do
  local id, tenant, kind, priority, bytes, delay, deadline, idempotency, fingerprint, rest, payload, changes = take_all(12)
  local job = {
    id = id, tenant = tenant, kind = kind, priority = priority, bytes = tonumber(bytes), delay = tonumber(delay),
    deadline = tonumber(deadline), idempotency = idempotency, fingerprint = fingerprint, rest = rest, payload = payload,
  }
  if changes == '1' then
    job.document = { id = take(), change = take(), collection = take(), title = take(), source = take() }
  end
  ids[i], jobs[i] = id, job
end

local unfinished = redis.call('ZCARD', q .. 'scheduled')
for _, kind in ipairs({ 'chat', 'ingest', 'replay' }) do
  unfinished = unfinished + redis.call('ZCARD', q .. 'inflight:' .. kind)
  for _, priority in ipairs({ 'high', 'normal', 'low' }) do
    unfinished = unfinished + redis.call('ZCARD', q .. 'queued:' .. kind .. ':' .. priority)
  end
end
local bytes_used = tonumber(redis.call('HGET', q .. 'counters', 'bytes')) or 0
local bytes_before = bytes_used
local place = nil

local answers = {}
local function answer(word, more)
  answers[#answers + 1] = word
  answers[#answers + 1] = more or ''
end

-- Found only where a submit is sent again.
local there = {}
for i, data in ipairs(redis.call('HMGET', q .. 'data', unpack(ids))) do
  if data then
    there[ids[i]] = true
  end
end

gather()
for _, job in ipairs(jobs) do
  local id, tenant, bytes, delay, deadline = job.id, job.tenant, job.bytes, job.delay, job.deadline
  local idempotency, fingerprint, document = job.idempotency, job.fingerprint, job.document
  local known = idempotency ~= '' and redis.call('HGET', q .. 'idempotency', tenant .. ':' .. idempotency)
  -- A key whose job is not there is left of a submit that the server broke off.
  local first = known and string.sub(known, 1, 26)
  if known and not there[first] and redis.call('HEXISTS', q .. 'data', first) == 0 then
    known = nil
  end
  if there[id] then
    answer('accepted')
  elseif known then
    if string.sub(known, 28) == fingerprint then
      answer('replayed', string.sub(known, 1, 26))
    else
      answer('mismatch')
    end
  elseif (unfinished >= max_jobs or bytes_used + bytes > max_bytes) and job.kind ~= 'replay' then
    answer('full', tostring(drain_rate()))
  else
    local head = '1{"bytes":' .. text(bytes) .. ',"created_at":' .. instant .. ','
    if document then
      local source = document.source ~= '' and document.source or nil
      local version = submit_document(tenant, document.id, document.change, document.collection, document.title,
        source, id)
      head = head .. '"version":' .. version .. ','
      if document.change == 'delete' then
        redis.call('SADD', q .. 'deletions', id)
      end
      redis.call('PERSIST', q .. 'upload:' .. id)
    end
    if deadline then
      redis.call('ZADD', q .. 'deadlines', now + deadline, id)
    end
    if delay > 0 then
      local due_at = math.min(now + delay, now + (deadline or delay))
      redis.call('HSET', q .. 'meta:' .. id, 'status', 'scheduled', 'due_at', due_at)
      stand_scheduled(job, due_at)
    else
      place = (place or tonumber(redis.call('HGET', q .. 'counters', 'place')) or 0) + 1
      together('ZADD', queue_key(job), string.format('%d', place), id)
      wake(job.kind)
    end
    if idempotency ~= '' then
      redis.call('HSET', q .. 'idempotency', tenant .. ':' .. idempotency, id .. ' ' .. fingerprint)
    end
    -- Last: whatever breaks a script off, a job whose data is there is there with all that belongs to it.
    there[id] = true
    together('HSET', q .. 'data', id, head .. job.rest .. '\n' .. job.payload)
    unfinished, bytes_used = unfinished + 1, bytes_used + bytes
    answer('accepted')
  end
end
flush()
if bytes_used ~= bytes_before then
  redis.call('HINCRBY', q .. 'counters', 'bytes', bytes_used - bytes_before)
end
if place then
  redis.call('HSET', q .. 'counters', 'place', place)
end
return answers
