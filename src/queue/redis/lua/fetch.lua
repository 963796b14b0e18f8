-- Hands queued jobs of one kind to a live worker, each under a lease of its own, high, normal and low
-- priority 8:4:1 when all wait.
-- ARGV[4] worker, ARGV[5] kind, ARGV[6] at most so many, ARGV[7] number of this fetch, rising: one that has been
-- carried out hands over the same jobs again; ARGV[8] `deletions`: only those that delete a document, else empty
-- Returns the instant, then seven elements a job: id, data, attempt, delivery, deferrals, when it was queued (empty:
-- when it was submitted), context (empty: none).

local worker, kind, max, number, only = take(), take(), take_number(), take_number(), take()
local fetches = only == '' and kind or only
local reply = { now }
local function hand(id, data, attempt, delivery, deferrals, queued_at, context)
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4] = id, data, attempt, delivery
  reply[at + 5], reply[at + 6] = deferrals, queued_at or ''
  reply[at + 7] = context and redis.call('HGET', q .. 'contexts', id) or ''
end

-- Not only when it is sent again: what was sent to a server that stalled may run after what followed it.
local last = redis.call('HGET', q .. 'fetches:' .. worker, fetches)
local last_number = last and tonumber(string.match(last, '^%d+')) or -1
if last_number > number then
  return reply
elseif last_number == number then
  for id in string.gmatch(last, ' (%S+)') do
    local job = load(id)
    if job and job.status == 'running' and job.worker == worker then
      hand(id, redis.call('HGET', q .. 'data', id), job.attempt, job.delivery, job.deferrals, job.queued_at,
        job.context)
    end
  end
  return reply
end

-- A fetch that was sent before may still run once more: then it, too, hands over nothing.
local lease_until = tonumber(redis.call('ZSCORE', q .. 'workers', worker))
local function none()
  if again and lease_until then
    redis.call('HSET', q .. 'fetches:' .. worker, fetches, number)
  end
  return reply
end
-- After the look at what was handed over: a pause, or a lease that ran out meanwhile, takes nothing back.
if not lease_until or lease_until <= now or redis.call('SISMEMBER', q .. 'paused', kind) == 1 then
  return none()
end

bury(100)

-- How many to take of each priority: smooth weighted round robin, so that low ones are spread evenly and an
-- idle priority saves nothing up. Its credits are kept only while priorities compete.
local names, weights = { 'high', 'normal', 'low' }, { 8, 4, 1 }
local keys, waiting, competing = {}, {}, 0
local ids, places = {}, {}
for i = 1, 3 do
  keys[i] = q .. 'queued:' .. kind .. ':' .. names[i]
  waiting[i] = redis.call('ZCARD', keys[i])
  competing = competing + (waiting[i] > 0 and 1 or 0)
end
if competing == 0 then
  return none()
end
if only == 'deletions' then
  for _, id in ipairs(redis.call('SRANDMEMBER', q .. 'deletions', 2 * max)) do
    local job = #ids < max and load(id)
    if job and job.status == 'queued' then
      local place = redis.call('ZSCORE', queue_key(job), id)
      if place and redis.call('ZREM', queue_key(job), id) == 1 then
        ids[#ids + 1], places[#places + 1] = id, place
      end
    end
  end
  if #ids == 0 then
    return none()
  end
end
local order, wanted = {}, { 0, 0, 0 }
if only ~= '' then
  -- They are chosen.
elseif competing == 1 then
  for i = 1, 3 do
    wanted[i] = math.min(max, waiting[i])
    for _ = 1, wanted[i] do
      order[#order + 1] = i
    end
  end
else
  local credits_key = 'credits:' .. kind
  local credits = {}
  for credit in string.gmatch(redis.call('HGET', q .. 'counters', credits_key) or '0 0 0', '%S+') do
    credits[#credits + 1] = tonumber(credit)
  end
  while #order < max do
    local best, total = nil, 0
    for i = 1, 3 do
      if waiting[i] > wanted[i] then
        total = total + weights[i]
        credits[i] = credits[i] + weights[i]
        if not best or credits[i] > credits[best] then
          best = i
        end
      else
        credits[i] = 0
      end
    end
    if not best then
      break
    end
    credits[best] = credits[best] - total
    wanted[best] = wanted[best] + 1
    order[#order + 1] = best
  end
  redis.call('HSET', q .. 'counters', credits_key, table.concat(credits, ' '))
end

local taken = {}
for i = 1, 3 do
  taken[i] = wanted[i] > 0 and redis.call('ZPOPMIN', keys[i], wanted[i]) or {}
end
local at = { 1, 1, 1 }
for _, i in ipairs(order) do
  ids[#ids + 1], places[#places + 1] = taken[i][at[i]], taken[i][at[i] + 1]
  at[i] = at[i] + 2
end

local function after(field)
  return field and tonumber(field) + 1 or 1
end
local datas, meta_keys = redis.call('HMGET', q .. 'data', unpack(ids)), {}
for i, id in ipairs(ids) do
  meta_keys[i] = q .. 'meta:' .. id
end
-- Mostly none of them has been anything but queued.
local all_new = redis.call('EXISTS', unpack(meta_keys)) == 0
local inflight, firsts, announcement = {}, {}, 'running ' .. origin
for i, id in ipairs(ids) do
  local data, meta = datas[i], nil
  -- A job without its data can't be; were it so, it would not be worth stopping the queue for.
  if data then
    local bytes = string.match(data, '^1{"bytes":(%d+)') or '0'
    if not all_new then
      meta = redis.call('HMGET', meta_keys[i], 'attempt', 'delivery', 'deliveries', 'deferrals', 'context', 'queued_at',
        'status')
    end
    if meta and meta[7] then
      local attempt, delivery = after(meta[1]), after(meta[2])
      redis.call('HSET', meta_keys[i], 'status', 'running', 'attempt', text(attempt), 'delivery', text(delivery),
        'deliveries', text(after(meta[3])), 'worker', worker, 'place', places[i], 'started_at', instant,
        'kind', kind, 'bytes', bytes)
      redis.call('RPUSH', q .. 'events:' .. id, text(attempt) .. ' started ' .. worker)
      hand(id, data, attempt, delivery, tonumber(meta[4]) or 0, meta[6], meta[5])
    else
      local length = #firsts
      firsts[length + 1], firsts[length + 2] = id, table.concat({ '0', places[i], kind, bytes, instant, worker }, ' ')
      hand(id, data, 1, 1, 0)
    end
    redis.call('PUBLISH', q .. 'job:' .. id, announcement)
    local length = #inflight
    inflight[length + 1], inflight[length + 2] = '0', worker .. ' ' .. id
  end
end
if #firsts > 0 then
  redis.call('HSET', q .. 'first', unpack(firsts))
end
if #inflight > 0 then
  redis.call('ZADD', q .. 'inflight:' .. kind, unpack(inflight))
  if redis.call('EXISTS', q .. 'deadlines') == 1 then
    redis.call('ZREM', q .. 'deadlines', unpack(ids))
  end
  redis.call('HSET', q .. 'fetches:' .. worker, fetches, number .. ' ' .. table.concat(ids, ' '))
end
-- The token is handed on while work remains, and taken away with the last of it.
if waiting[1] + waiting[2] + waiting[3] > #ids then
  wake(kind)
else
  redis.call('DEL', q .. 'signal:' .. kind)
end
return reply
