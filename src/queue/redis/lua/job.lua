-- What every script stands on: the queue's keys, the present instant, a job's record and its changes.
-- Put before each of them.
-- KEYS[1] the queue's data hash: its name gives the prefix, and the Cluster slot, of all other keys
-- ARGV[1] the calling store's id, so that it knows its own announcements
-- ARGV[2] the instant to work with (milliseconds); empty: the server's own clock
-- ARGV[3] 1: this call may have been carried out before, its answer was lost
-- ARGV[4..] as each script says, read in order by take()

local q = string.sub(KEYS[1], 1, -5)
-- While a Cluster moves this slot to another node, keys that are not here (any more) can't be asked for: a script would
-- break off half way, with jobs taken from one place and not put into the other. So it breaks off here, and is sent
-- again when the slot has moved. No key has this name.
redis.call('EXISTS', q .. 'here')
local origin, now, again = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text. A number that is handed to a command or joined to a text as it is gets written as floating
-- point, which takes a microsecond. Remembered, since most are the same for many jobs.
local texts = {}
local function text(number)
  local known = texts[number]
  if not known then
    known = string.format('%d', number)
    texts[number] = known
  end
  return known
end
local instant = text(now)

local next_argument = 3
local function take()
  next_argument = next_argument + 1
  return ARGV[next_argument]
end
local function take_number()
  return tonumber(take())
end
local function take_all(count)
  local first = next_argument + 1
  next_argument = next_argument + count
  return unpack(ARGV, first, next_argument)
end

-- What many jobs write to a key that they share, made by flush() as one command for all of them: calling a command
-- costs more than what it does for one job. Only in a script that calls gather() first; it must not read these keys
-- before the flush.
local gathered = nil
local function gather()
  gathered = { freed = 0 }
end
local function together(command, key, first, second)
  local writes = gathered and gathered[key]
  if not writes or writes[1] ~= command then
    writes = { command, key }
    if gathered then
      gathered[key], gathered[#gathered + 1] = writes, writes
    end
  end
  local length = #writes
  writes[length + 1], writes[length + 2] = first, second
  if not gathered then
    redis.call(unpack(writes))
  end
end
local function free(bytes)
  if gathered then
    gathered.freed = gathered.freed + bytes
  else
    redis.call('HINCRBY', q .. 'counters', 'bytes', 0 - bytes)
  end
end
local function flush()
  local writes, freed = gathered, gathered.freed
  gathered = nil
  for _, command in ipairs(writes) do
    redis.call(unpack(command))
  end
  if freed > 0 then
    free(freed)
  end
end

-- Jobs changed by this call, as id, status, id, status.
local changed = {}
local function announce(id, status)
  local length = #changed
  changed[length + 1], changed[length + 2] = id, status
  redis.call('PUBLISH', q .. 'job:' .. id, status .. ' ' .. origin)
end

-- Leaves one token for a worker that waits for this kind, unless there is one. A paused kind wakes nobody.
local woken = {}
local function wake(kind)
  if not woken[kind] then
    woken[kind] = true
    if redis.call('LLEN', q .. 'signal:' .. kind) == 0 and redis.call('SISMEMBER', q .. 'paused', kind) == 0 then
      redis.call('RPUSH', q .. 'signal:' .. kind, 1)
    end
  end
end

-- The history: a hash for each interval, of names and counts. As in `history.rs` (milliseconds).
local HISTORY_INTERVAL, HISTORY_KEPT = 15000, 3630000
local function history_key()
  return q .. 'history:' .. text(math.floor(now / HISTORY_INTERVAL))
end
-- Counts what no process knows of but the one that runs this script.
local function note_flow(kind, flow)
  redis.call('HINCRBY', history_key(), kind .. ':' .. flow, 1)
  redis.call('PEXPIRE', history_key(), HISTORY_KEPT)
end

local function queue_key(job)
  return q .. 'queued:' .. job.kind .. ':' .. job.priority
end

local function next_place()
  return redis.call('HINCRBY', q .. 'counters', 'place', 1)
end

-- A job's data is `1`, the header (JSON), a newline, the payload as it came. Data of any other form was
-- pushed by another producer, and is a payload alone.
local function is_own(data)
  return string.sub(data, 1, 2) == '1{'
end

local function header(data)
  return cjson.decode(string.sub(data, 2, string.find(data, '\n', 1, true) - 1))
end

local NUMBERS = {
  attempt = true, delivery = true, deliveries = true, lost_leases = true, deferrals = true, place = true,
  queued_at = true, due_at = true, started_at = true, finished_at = true, retry_at = true, bytes = true,
}

-- Most jobs are delivered once and complete. All that there is to tell of such a job, while it runs and after, is one
-- line of the hash `first`: when it completed (0: it runs), place, kind, bytes, when it was delivered, worker. It is
-- kept there instead of in a `meta` hash and a log until anything else happens to it: a key of its own for each of
-- them is what a job would cost most.
local function in_first(id, line)
  local finished_at, place, kind, bytes, started_at, worker = string.match(line, '^(%d+) (%S+) (%S+) (%d+) (%d+) (.*)$')
  return {
    id = id, first = line, status = finished_at == '0' and 'running' or 'completed', attempt = 1, delivery = 1,
    deliveries = 1, place = tonumber(place), kind = kind, bytes = tonumber(bytes), started_at = tonumber(started_at),
    worker = worker, finished_at = finished_at ~= '0' and tonumber(finished_at) or nil,
  }
end

-- What the `meta` hash of such a job would hold: field, value, field, value.
local function meta_of(job)
  local meta = {
    'status', job.status, 'attempt', '1', 'delivery', '1', 'deliveries', '1', 'worker', job.worker, 'place',
    text(job.place), 'started_at', text(job.started_at), 'kind', job.kind, 'bytes', text(job.bytes),
  }
  if job.finished_at then
    meta[#meta + 1], meta[#meta + 2] = 'finished_at', text(job.finished_at)
  end
  return meta
end

-- And its log.
local function log_of(job)
  local entries = { '1 started ' .. job.worker }
  if job.finished_at then
    entries[2] = '1 completed'
  end
  return entries
end

-- What a script that asks for many jobs has read of `first` ahead.
local lines = {}

-- Gives it both, before anything else is written of it.
local function spell_out(job)
  if job.first then
    lines[job.id] = nil
    redis.call('HSET', q .. 'meta:' .. job.id, unpack(meta_of(job)))
    redis.call('RPUSH', q .. 'events:' .. job.id, unpack(log_of(job)))
    redis.call('HDEL', q .. 'first', job.id)
    job.first = nil
  end
end

local function log(job, entry)
  spell_out(job)
  redis.call('RPUSH', q .. 'events:' .. job.id, text(job.attempt) .. ' ' .. entry)
end

-- The whole record of a job, or nil. Its `meta` hash is made with its first change: without one, and without a line in
-- `first`, it is queued.
local function load(id)
  local data = redis.call('HGET', q .. 'data', id)
  if not data then
    return nil
  end
  local job
  if is_own(data) then
    job = header(data)
    local meta = redis.call('HGETALL', q .. 'meta:' .. id)
    for i = 1, #meta, 2 do
      job[meta[i]] = NUMBERS[meta[i]] and tonumber(meta[i + 1]) or meta[i + 1]
    end
    local line = #meta == 0 and redis.call('HGET', q .. 'first', id)
    if line then
      for field, value in pairs(in_first(id, line)) do
        job[field] = value
      end
    end
    job.status = job.status or 'queued'
  else
    job = { kind = 'chat', status = 'scheduled', created_at = now, max_attempts = 1, bytes = 0, foreign = true }
  end
  job.id = id
  job.tenant = job.tenant or 'default'
  job.priority = job.priority or 'normal'
  for _, counter in ipairs({ 'attempt', 'delivery', 'deliveries', 'lost_leases', 'deferrals' }) do
    job[counter] = job[counter] or 0
  end
  if job.deadline_ms then
    job.deadline_at = (job.replayed_at or job.created_at) + job.deadline_ms
  end
  return job
end

-- The fence: the job if this lease is its present one, else nil and what the record says of status, worker
-- and delivery. Only what the hot ways need is read.
local function held(id, worker, delivery)
  local line, meta = lines[id], nil
  if not line then
    meta = redis.call('HMGET', q .. 'meta:' .. id, 'status', 'worker', 'delivery', 'attempt', 'kind', 'bytes', 'context',
      'code', 'started_at')
    line = not meta[1] and redis.call('HGET', q .. 'first', id)
  end
  if line then
    local job = in_first(id, line)
    if job.status == 'running' and job.worker == worker and delivery == '1' then
      return job
    end
    return nil, { job.status, job.worker, '1' }
  end
  if meta[1] ~= 'running' or meta[2] ~= worker or meta[3] ~= delivery then
    return nil, meta
  end
  return {
    id = id, status = 'running', worker = worker, delivery = tonumber(delivery), attempt = tonumber(meta[4]),
    kind = meta[5], bytes = tonumber(meta[6]), context = meta[7], code = meta[8], started_at = meta[9],
  }
end

-- Adds what calls to model providers cost to a job's record: calls, tokens of prompts, of answers and those that came
-- to nothing; empty: none was made.
local function add_cost(job, cost)
  if cost == '' then
    return
  end
  spell_out(job)
  local meta = q .. 'meta:' .. job.id
  local before = redis.call('HMGET', meta, 'calls', 'prompt_tokens', 'completion_tokens', 'wasted_tokens')
  local calls, prompt, completion, wasted = string.match(cost, '^(%d+) (%d+) (%d+) (%d+)$')
  redis.call('HSET', meta, 'calls', text((before[1] or 0) + calls), 'prompt_tokens', text((before[2] or 0) + prompt),
    'completion_tokens', text((before[3] or 0) + completion), 'wasted_tokens', text((before[4] or 0) + wasted))
end

-- Puts a job among those that wait for their time: all in one set, and those of every kind but questions, which are
-- the rest, in a set of their kind, to be counted.
local function stand_scheduled(job, due_at)
  redis.call('ZADD', q .. 'scheduled', due_at / 1000, job.id)
  if job.kind ~= 'chat' then
    redis.call('SADD', q .. 'scheduled:' .. job.kind, job.id)
  end
end

-- Takes a job out of wherever it stands.
local function leave_place(job)
  if job.status == 'running' then
    together('ZREM', q .. 'inflight:' .. job.kind, job.worker .. ' ' .. job.id)
  elseif job.status == 'queued' then
    redis.call('ZREM', queue_key(job), job.id)
  elseif job.status == 'scheduled' then
    redis.call('ZREM', q .. 'scheduled', job.id)
    if job.kind ~= 'chat' then
      redis.call('SREM', q .. 'scheduled:' .. job.kind, job.id)
    end
  end
  if job.deadline_at then
    redis.call('ZREM', q .. 'deadlines', job.id)
  end
end

local function keep_deadline(job)
  if job.deadline_at then
    redis.call('ZADD', q .. 'deadlines', job.deadline_at, job.id)
  end
end

-- Attempts used by failures: a running one is not counted when it is taken or handed back.
local function uncounted(job)
  return job.status == 'running' and math.max(job.attempt - 1, 0) or job.attempt
end

-- Makes a job queued at a place of its list.
local function enqueue(job, place, attempt)
  spell_out(job)
  leave_place(job)
  redis.call('HSET', q .. 'meta:' .. job.id, 'status', 'queued', 'queued_at', instant, 'attempt',
    text(attempt), 'lost_leases', text(job.lost_leases))
  redis.call('ZADD', queue_key(job), place, job.id)
  keep_deadline(job)
  announce(job.id, 'queued')
  wake(job.kind)
end

-- Hands a running job back, as if it had not been delivered: it stands where it stood.
local function hand_back(job)
  enqueue(job, job.place, uncounted(job))
end

-- Makes a job wait until an instant, with these counters and this failure (JSON without its `retry_at`).
local function schedule(job, due_at, attempt, deferrals, code, failure)
  spell_out(job)
  leave_place(job)
  redis.call('HSET', q .. 'meta:' .. job.id, 'status', 'scheduled', 'due_at', due_at, 'attempt', attempt,
    'deferrals', deferrals)
  if failure then
    redis.call('HSET', q .. 'meta:' .. job.id, 'code', code, 'error', failure, 'retry_at', due_at)
  end
  stand_scheduled(job, due_at)
  keep_deadline(job)
  announce(job.id, 'scheduled')
end

-- Notes that the running delivery failed or was lost: number, attempt, when it began and ended, outcome,
-- worker, failure (JSON) and when the job was to go on, one JSON array each.
local function note_attempt(job, outcome, failure, retry_at)
  redis.call('RPUSH', q .. 'attempts:' .. job.id, cjson.encode({
    job.delivery, job.attempt, tonumber(job.started_at) or now, now, outcome, job.worker or '', failure or '',
    retry_at or 0,
  }))
end

-- Notes how many jobs became final, weighted towards the recent ones: per second, over half a minute.
local function note_drain(count)
  local last = redis.call('HMGET', q .. 'counters', 'drain', 'drain_at')
  local rate = (tonumber(last[1]) or 0) * math.exp(((tonumber(last[2]) or now) - now) / 30000)
  redis.call('HSET', q .. 'counters', 'drain', rate + count / 30, 'drain_at', now)
end

-- How the delivery of that number failed or was lost, as noted; nil: it did not, or a hundred others have since.
local function noted_outcome(id, delivery)
  for back = 1, 100 do
    local noted = redis.call('LINDEX', q .. 'attempts:' .. id, 0 - back)
    local attempt = noted and cjson.decode(noted)
    if not attempt or attempt[1] < delivery then
      return nil
    elseif attempt[1] == delivery then
      return attempt[5]
    end
  end
end

-- The answer to a call that finds its lease gone: 1 if it may have been sent before and its first time settled this
-- very delivery, which `settled` says; else 0. That the record still names worker and delivery says nothing: it
-- does so when the job was taken back, too. Whoever waits here is told again, since nobody heard the first answer.
local function settled_before(sent, settled, id, meta)
  if not (again or sent) or not settled() then
    return 0
  end
  if meta[1] then
    local length = #changed
    changed[length + 1], changed[length + 2] = id, meta[1]
  end
  return 1
end

local function drain_rate()
  local last = redis.call('HMGET', q .. 'counters', 'drain', 'drain_at')
  return (tonumber(last[1]) or 0) * math.exp(((tonumber(last[2]) or now) - now) / 30000)
end

-- A set of dead letters that share kind, reason and code; the list of all such sets is `dead:causes`.
local function cause_of(job, reason, code)
  return reason .. ':' .. code .. ':' .. job.kind
end
