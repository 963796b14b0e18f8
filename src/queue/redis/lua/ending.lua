-- How a job becomes final and how it is removed, for every script that does so. Put after documents.lua.

-- Makes a job final: completed (result given by the caller), dead (reason, code, failure as JSON) or
-- cancelled. `attempt` is what the record says from now on. First comes what may fail for this job alone, whose keys
-- something else may have: its record and the counts of the queue say that it is final together or not at all.
local function conclude(job, status, attempt, reason, code, failure)
  if job.kind == 'ingest' and not job.document then
    local whole = load(job.id)
    job.document, job.version, job.tenant = whole.document, whole.version, whole.tenant
  end
  local meta = q .. 'meta:' .. job.id
  local in_line = job.first and status == 'completed'
  if not in_line then
    log(job, status == 'dead' and 'dead ' .. failure or status)
  end
  if job.context then
    redis.call('HDEL', q .. 'contexts', job.id)
    redis.call('HDEL', meta, 'context')
  end
  if job.kind == 'ingest' then
    redis.call('SREM', q .. 'deletions', job.id)
    local outcome = status == 'completed' and 'applied' or status == 'dead' and 'failed' or 'dropped'
    document_job_ended(job, outcome, failure)
    -- A dead ingestion can be replayed, which needs its upload.
    if status ~= 'dead' then
      redis.call('DEL', q .. 'upload:' .. job.id)
    end
  end
  if job.kind == 'replay' then
    redis.call('UNLINK', q .. 'replay:' .. job.id .. ':waiting')
  end
  if in_line then
    lines[job.id] = instant .. string.sub(job.first, 2)
    together('HSET', q .. 'first', job.id, lines[job.id])
  else
    redis.call('HSET', meta, 'status', status, 'finished_at', instant)
    if attempt ~= job.attempt then
      redis.call('HSET', meta, 'attempt', text(attempt))
    end
  end
  if status == 'completed' then
    together('ZADD', q .. 'done', instant, job.id)
    if job.code then
      redis.call('HDEL', meta, 'code', 'error', 'retry_at')
    end
  elseif status == 'dead' then
    local cause = cause_of(job, reason, code)
    redis.call('HSET', meta, 'reason', reason, 'code', code, 'error', failure)
    redis.call('HDEL', meta, 'retry_at')
    redis.call('ZADD', q .. 'dead', now, job.id)
    redis.call('ZADD', q .. 'dead:' .. cause, now, job.id)
    redis.call('SADD', q .. 'dead:causes', cause)
  else
    redis.call('ZADD', q .. 'cancelled', now, job.id)
  end
  leave_place(job)
  free(job.bytes)
  announce(job.id, status)
end

-- Makes a running job a dead letter; the attempt it died of is used.
local function die(job, reason, code, failure)
  note_attempt(job, 'died', failure)
  conclude(job, 'dead', job.attempt, reason, code, failure)
end

local function failure_json(code, message)
  return cjson.encode({ code = code, message = message, class = 'permanent' })
end

-- Buries a waiting job whose deadline has passed.
local function deadline_passed(job)
  local message = 'the job was not done by its deadline'
  if job.error then
    local read, last = pcall(cjson.decode, job.error)
    if read and type(last) == 'table' and last.message then
      message = message .. '; its last failure: ' .. last.message
    end
  end
  note_flow(job.kind, 'dead')
  conclude(job, 'dead', job.attempt, 'deadline_exceeded', 'deadline_exceeded',
    failure_json('deadline_exceeded', message))
end

-- Buries waiting jobs past their deadline, at most so many; how many.
local function bury(limit)
  local late = redis.call('ZRANGEBYSCORE', q .. 'deadlines', '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(late) do
    local job = load(id)
    if job and (job.status == 'queued' or job.status == 'scheduled') then
      deadline_passed(job)
      redis.call('HINCRBY', q .. 'counters', 'late:' .. job.kind, 1)
    else
      redis.call('ZREM', q .. 'deadlines', id)
    end
  end
  if #late > 0 then
    note_drain(#late)
  end
  return #late
end

-- Tells the worker that holds a running job that it no longer does.
local function alert_holder(job, status)
  if job.status == 'running' then
    redis.call('PUBLISH', q .. 'worker:' .. job.worker, job.id .. ' ' .. status .. ' ' .. origin)
  end
end

-- Cancels a job that is not final.
local function cancel(job)
  note_flow(job.kind, 'cancelled')
  alert_holder(job, 'cancelled')
  conclude(job, 'cancelled', job.attempt)
end

-- Gives a job that another producer pushed the form of our own: the payload may say its priority, attempts,
-- deadline and conversation as a request does. One whose id is no ULID gets one made from its id.
local function adopt(pushed, max_attempts)
  local payload = redis.call('HGET', q .. 'data', pushed)
  local id = pushed
  if #id ~= 26 or not string.find(id, '^[0-7][0-9A-HJKMNP-TV-Z]+$') then
    id = '0' .. string.upper(string.sub(redis.sha1hex(pushed), 1, 25))
    redis.call('HDEL', q .. 'data', pushed)
    redis.call('ZREM', q .. 'scheduled', pushed)
  end
  local read, request = pcall(cjson.decode, payload)
  if not read or type(request) ~= 'table' then
    request = {}
  end
  local function number(name)
    local value = request[name]
    return type(value) == 'number' and value >= 1 and value < 2 ^ 40 and math.floor(value) or nil
  end
  local known = { high = true, normal = true, low = true }
  local priority = known[request.priority] and request.priority or 'normal'
  local rest = cjson.encode({
    tenant = 'default', kind = 'chat', priority = priority,
    max_attempts = math.min(number('max_attempts') or max_attempts, 1000),
    deadline_ms = number('deadline_ms'),
    conversation_id = type(request.conversation_id) == 'string' and request.conversation_id or nil,
  })
  redis.call('UNLINK', q .. 'meta:' .. pushed)
  redis.call('HSET', q .. 'meta:' .. id, 'status', 'scheduled', 'due_at', now)
  redis.call('HSET', q .. 'data', id,
    '1{"bytes":' .. #payload .. ',"created_at":' .. now .. ',' .. string.sub(rest, 2) .. '\n' .. payload)
  redis.call('HINCRBY', q .. 'counters', 'bytes', #payload)
  local job = load(id)
  keep_deadline(job)
  return job
end

-- Takes a dead letter out of the sets of dead letters.
local function exhume(job)
  local cause = cause_of(job, job.reason, job.code)
  redis.call('ZREM', q .. 'dead', job.id)
  if redis.call('ZREM', q .. 'dead:' .. cause, job.id) == 1 and redis.call('EXISTS', q .. 'dead:' .. cause) == 0 then
    redis.call('SREM', q .. 'dead:causes', cause)
  end
end

-- Removes a final job and all that hangs on it.
local function remove(job)
  if job.status == 'dead' then
    exhume(job)
    if job.kind == 'ingest' then
      document_letter_taken(job, 'dropped')
    end
  end
  redis.call('ZREM', q .. 'done', job.id)
  redis.call('ZREM', q .. 'cancelled', job.id)
  if job.idempotency then
    redis.call('HDEL', q .. 'idempotency', job.tenant .. ':' .. job.idempotency)
  end
  if job.conversation_id and redis.call('HDEL', q .. 'turn', job.id) == 1 then
    redis.call('ZREM', q .. 'turns:' .. job.tenant .. ':' .. job.conversation_id, job.id)
  end
  redis.call('HDEL', q .. 'data', job.id)
  redis.call('HDEL', q .. 'results', job.id)
  redis.call('HDEL', q .. 'first', job.id)
  redis.call('UNLINK', q .. 'meta:' .. job.id, q .. 'events:' .. job.id, q .. 'attempts:' .. job.id,
    q .. 'upload:' .. job.id)
  if job.kind == 'replay' then
    redis.call('UNLINK', q .. 'replay:' .. job.id)
  end
end

-- Queues a dead letter again, with another payload if one is given: all counters but the delivery number and what it
-- has cost start again, so does its deadline.
local function replay(job, payload)
  local id = job.id
  exhume(job)
  if job.kind == 'ingest' then
    document_letter_taken(job, 'waiting')
  end
  local data = redis.call('HGET', q .. 'data', id)
  local line_end = string.find(data, '\n', 1, true)
  local before = string.sub(data, line_end + 1)
  local bytes = job.bytes + (payload and #payload - #before or 0)
  local head = string.gsub(string.sub(data, 1, line_end - 1), ',"replayed_at":%d+', '', 1)
  head = string.gsub(head, '^1{"bytes":%d+', '1{"bytes":' .. bytes .. ',"replayed_at":' .. now, 1)
  redis.call('HSET', q .. 'data', id, head .. '\n' .. (payload or before))
  redis.call('HINCRBY', q .. 'counters', 'bytes', bytes)
  redis.call('UNLINK', q .. 'meta:' .. id)
  redis.call('HSET', q .. 'meta:' .. id, 'delivery', job.delivery)
  if job.calls then
    add_cost(job, table.concat({ job.calls, job.prompt_tokens, job.completion_tokens, job.wasted_tokens }, ' '))
  end
  job = load(id)
  if job.document and job.document.change == 'delete' then
    redis.call('SADD', q .. 'deletions', id)
  end
  log(job, 'replayed')
  enqueue(job, next_place(), 0)
end

-- Dead letters of some sets, newest first: those before an instant and id (at most so many), as lists of id and
-- instant.
local function letters_before(keys, at, before, limit)
  local found = {}
  local function collect(key, from, to, ...)
    local letters = redis.call('ZREVRANGEBYSCORE', key, from, to, 'WITHSCORES', ...)
    for i = 1, #letters, 2 do
      local score = tonumber(letters[i + 1])
      if at == '' or score < tonumber(at) or letters[i] < before then
        found[#found + 1] = { id = letters[i], at = score }
      end
    end
  end
  for _, key in ipairs(keys) do
    if at == '' then
      collect(key, '+inf', '-inf', 'LIMIT', 0, limit)
    else
      collect(key, at, at)
      collect(key, '(' .. at, '-inf', 'LIMIT', 0, limit)
    end
  end
  table.sort(found, function(a, b)
    if a.at ~= b.at then
      return a.at > b.at
    end
    return a.id > b.id
  end)
  for i = limit + 1, #found do
    found[i] = nil
  end
  return found
end

-- A selection of dead letters for a replay: reason, code and kind (each empty: any) and ids (none: any). Replays are
-- not replayed.
local function take_selection()
  local selection = { reason = take(), code = take(), kind = take(), ids = {} }
  for i = 1, take_number() do
    selection.ids[i] = take()
  end
  return selection
end

local function fits(selection, reason, code, kind)
  return kind ~= 'replay' and (selection.reason == '' or selection.reason == reason)
    and (selection.code == '' or selection.code == code) and (selection.kind == '' or selection.kind == kind)
end

-- The sets that hold the letters of a selection by cause.
local function sets_of(selection)
  local keys = {}
  for _, cause in ipairs(redis.call('SMEMBERS', q .. 'dead:causes')) do
    local reason, code, kind = string.match(cause, '^([^:]*):([^:]*):([^:]*)$')
    if reason and fits(selection, reason, code, kind) then
      keys[#keys + 1] = q .. 'dead:' .. cause
    end
  end
  return keys
end

-- A job if it is a dead letter of the selection.
local function selected(selection, id)
  local job = load(id)
  if job and job.status == 'dead' and fits(selection, job.reason, job.code, job.kind) then
    return job
  end
end

local KINDS = { 'chat', 'ingest', 'replay' }

-- Does something to the running jobs of a worker, at most so many; how many there were. In flight stand members
-- `worker job`, all of one score, so that they are in order of name.
local function each_held(worker, limit, act)
  local from, seen = '[' .. worker .. ' ', 0
  for _, kind in ipairs(KINDS) do
    local key = q .. 'inflight:' .. kind
    for _, member in ipairs(redis.call('ZRANGEBYLEX', key, from, from .. '\255', 'LIMIT', 0, limit - seen)) do
      local job = load(string.sub(member, #worker + 2))
      if job and job.status == 'running' and job.worker == worker then
        act(job)
      else
        redis.call('ZREM', key, member)
      end
      seen = seen + 1
    end
  end
  return seen
end

local function forget_worker(worker)
  redis.call('ZREM', q .. 'workers', worker)
  redis.call('HDEL', q .. 'workers:info', worker)
  redis.call('UNLINK', q .. 'fetches:' .. worker)
end

-- Sees that somebody is woken for every kind that has jobs waiting.
local function wake_all()
  for _, kind in ipairs(KINDS) do
    for _, priority in ipairs({ 'high', 'normal', 'low' }) do
      if redis.call('EXISTS', q .. 'queued:' .. kind .. ':' .. priority) == 1 then
        wake(kind)
      end
    end
  end
end
