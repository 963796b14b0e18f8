-- Puts running jobs back. A stale lease changes nothing.
-- ARGV[4] how many; for each: id, worker, delivery, 1 if it may have been sent before, how ('retry', 'defer' or
-- 'hand_back'), how long to wait (milliseconds), code, failure (JSON), what its calls to model providers cost (see add_cost)
-- Returns a list of 1 (applied) or 0 (stale), and the list of changed jobs: id, status.

local codes, ended = {}, 0
for i = 1, take_number() do
  local id, worker, delivery, sent, how, after, code, failure, cost = take_all(9)
  local job, meta = held(id, worker, delivery)
  if not job then
    codes[i] = settled_before(sent == '1', function()
      if how == 'hand_back' then
        return redis.call('HGET', q .. 'meta:' .. id, 'handed_back') == delivery
      end
      local outcome = noted_outcome(id, tonumber(delivery))
      return outcome == (how == 'defer' and 'deferred' or 'retried') or how == 'retry' and outcome == 'died'
    end, id, meta)
  else
    codes[i] = 1
    job = load(id)
    add_cost(job, cost)
    if how == 'hand_back' then
      hand_back(job)
      -- Nothing else tells it from a job that was taken back.
      redis.call('HSET', q .. 'meta:' .. id, 'handed_back', delivery)
    elseif how == 'retry' and job.attempt >= job.max_attempts then
      -- The worker decides that a job's last attempt was its last; this only makes sure.
      die(job, 'attempts_exhausted', code, failure)
      ended = ended + 1
    else
      -- Not beyond its deadline, at which it dies.
      local due_at = math.min(now + tonumber(after), job.deadline_at or math.huge)
      local retry = how == 'retry'
      note_attempt(job, retry and 'retried' or 'deferred', failure, due_at)
      log(job, (retry and 'retrying ' or 'deferred ') .. due_at .. ' ' .. failure)
      schedule(job, due_at, retry and job.attempt or uncounted(job), job.deferrals + (retry and 0 or 1), code, failure)
    end
  end
end
if ended > 0 then
  note_drain(ended)
end
return { codes, changed }
