-- One step of housekeeping: takes the jobs of silent workers back, buries what is past its deadline, queues what
-- is due, removes what has expired, sees that whoever waits for work is woken.
-- ARGV[4] leases may be taken back until this instant, ARGV[5] at most so many of each, ARGV[6] lost leases before
-- poison, ARGV[7] and ARGV[8] retention of completed and of dead jobs (milliseconds), ARGV[9] attempts of jobs that do
-- not say, ARGV[10] retention of the audit log (milliseconds)
-- Returns the instant; how many leases were lost; how many of these jobs of each kind are poison; of how many jobs of
-- each kind the deadline passed since the last round, in fetches too; how many jobs were buried, queued, removed by
-- this round; when there is more to do (milliseconds from now, -1: nothing is known); the list of changed jobs: id,
-- status.

-- An instant, because what is sent to a server that stalls runs when it wakes up, when every lease looks expired.
local reap, limit, max_lost_leases = now <= take_number(), take_number(), take_number()
local completed_retention, dead_retention, max_attempts, audit_retention =
  take_number(), take_number(), take_number(), take_number()

local lost, poisoned = 0, { chat = 0, ingest = 0, replay = 0 }
local function take_back(job)
  note_attempt(job, 'lease_lost')
  job.lost_leases = job.lost_leases + 1
  lost = lost + 1
  if job.lost_leases < max_lost_leases then
    alert_holder(job, 'queued')
    hand_back(job)
    return
  end
  poisoned[job.kind] = poisoned[job.kind] + 1
  spell_out(job)
  redis.call('HSET', q .. 'meta:' .. job.id, 'lost_leases', job.lost_leases)
  note_flow(job.kind, 'dead')
  alert_holder(job, 'dead')
  conclude(job, 'dead', uncounted(job), 'poison', 'poison',
    failure_json('poison', 'its worker was lost ' .. job.lost_leases .. ' times while it ran'))
end

if reap then
  local seen = 0
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', q .. 'workers', '-inf', now, 'LIMIT', 0, limit)) do
    seen = seen + each_held(worker, limit - seen, take_back)
    if seen >= limit then
      break
    end
    forget_worker(worker)
  end
end

local buried = bury(limit)
local late = redis.call('HMGET', q .. 'counters', 'late:chat', 'late:ingest', 'late:replay')
if late[1] or late[2] or late[3] then
  redis.call('HDEL', q .. 'counters', 'late:chat', 'late:ingest', 'late:replay')
end

local promoted = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q .. 'scheduled', '-inf', now / 1000, 'LIMIT', 0, limit)) do
  local job = load(id)
  if job and job.foreign then
    job = adopt(id, max_attempts)
  end
  if job and job.status == 'scheduled' then
    enqueue(job, next_place(), job.attempt)
    promoted = promoted + 1
  else
    redis.call('ZREM', q .. 'scheduled', id)
  end
end

local expired = 0
for _, set in ipairs({ { 'done', completed_retention }, { 'cancelled', completed_retention }, { 'dead', dead_retention } }) do
  local old = redis.call('ZRANGEBYSCORE', q .. set[1], '-inf', now - set[2], 'LIMIT', 0, limit - expired)
  for _, id in ipairs(old) do
    local job = load(id)
    if job then
      remove(job)
    end
    redis.call('ZREM', q .. set[1], id)
    expired = expired + 1
  end
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', q .. 'tombstones', '-inf', now - completed_retention, 'LIMIT', 0, limit)) do
  redis.call('UNLINK', q .. 'document:' .. key)
  redis.call('ZREM', q .. 'tombstones', key)
end
redis.call('ZREMRANGEBYSCORE', q .. 'readers', '-inf', now)

local function noted_at(entry)
  return entry and tonumber(string.match(entry, '^%d+ (%d+)')) or now
end
if noted_at(redis.call('ZRANGE', q .. 'audit', 0, 0)[1]) <= now - audit_retention then
  local old = 0
  for i, entry in ipairs(redis.call('ZRANGE', q .. 'audit', 0, limit - 1)) do
    old = noted_at(entry) <= now - audit_retention and i or old
  end
  redis.call('ZREMRANGEBYRANK', q .. 'audit', 0, old - 1)
end

wake_all()

-- A lease that has ended and may not be taken back yet is no reason to come again at once.
local next_at = nil
for _, set in ipairs({ { 'scheduled', 1000, '-inf' }, { 'workers', 1, '(' .. instant }, { 'deadlines', 1, '-inf' } }) do
  local head = redis.call('ZRANGEBYSCORE', q .. set[1], set[3], '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if head[2] then
    next_at = math.min(next_at or math.huge, tonumber(head[2]) * set[2])
  end
end
local wait = next_at and math.max(math.ceil(next_at - now), 0) or -1
return {
  now, lost, { poisoned.chat, poisoned.ingest, poisoned.replay },
  { tonumber(late[1]) or 0, tonumber(late[2]) or 0, tonumber(late[3]) or 0 }, buried, promoted, expired, wait, changed,
}
