-- How a job becomes final and how it is removed, for every script that does so. Put after documents.lua.

-- Makes a job final: completed (result given by the caller), dead (reason, code, failure as JSON) or
-- cancelled. `attempt` is what the record says from now on.
local function conclude(job, status, attempt, reason, code, failure)
  if job.kind == 'ingest' and not job.document then
    local whole = load(job.id)
    job.document, job.version, job.tenant = whole.document, whole.version, whole.tenant
  end
  leave_place(job)
  local meta = q .. 'meta:' .. job.id
  redis.call('HSET', meta, 'status', status, 'finished_at', instant)
  if attempt ~= job.attempt then
    redis.call('HSET', meta, 'attempt', text(attempt))
  end
  local entry = status
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
    entry = 'dead ' .. failure
  else
    redis.call('ZADD', q .. 'cancelled', now, job.id)
  end
  log(job, entry)
  if job.context then
    redis.call('HDEL', q .. 'contexts', job.id)
    redis.call('HDEL', meta, 'context')
  end
  if job.kind == 'ingest' then
    local outcome = status == 'completed' and 'applied' or status == 'dead' and 'failed' or 'dropped'
    document_job_ended(job, outcome, failure)
    -- A dead ingestion can be replayed, which needs its upload.
    if status ~= 'dead' then
      redis.call('DEL', q .. 'upload:' .. job.id)
    end
  end
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
  redis.call('UNLINK', q .. 'meta:' .. job.id, q .. 'events:' .. job.id, q .. 'attempts:' .. job.id,
    q .. 'upload:' .. job.id)
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
