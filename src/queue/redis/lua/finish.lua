-- Ends running jobs. A stale lease changes nothing. A job that can't be ended, because one of its keys is not what it
-- should be, ends the call with that error: those before it have ended then, it and those after it have not.
-- ARGV[4] how many; for each: id, worker, delivery, 1 if it may have been sent before, then
--   'completed', result (JSON), turn of the conversation (JSON, empty: none), what became of the document (empty:
--   none; unchanged, deleted, superseded, replaced), and its title, embedding model (empty: none), chunks, bytes
--   'dead', reason, code, failure (JSON), then four empty ones
--   and last of each what its calls to model providers cost (see add_cost)
-- Returns a list of 1 (applied) or 0 (stale), and the list of changed jobs: id, status.

gather()
local codes, ended = {}, 0
local count = take_number()
local ids = {}
for i = 1, count do
  ids[i] = ARGV[5 + (i - 1) * 13]
end
for i, line in ipairs(redis.call('HMGET', q .. 'first', unpack(ids))) do
  lines[ids[i]] = line
end

-- What is gathered of a job comes after all that may fail for it.
local function finish(i)
  local id, worker, delivery, sent, how, first, second, third, title, model, chunks, size, cost = take_all(13)
  local job, meta = held(id, worker, delivery)
  if not job then
    codes[i] = settled_before(sent == '1', function()
      if how == 'dead' then
        return noted_outcome(id, tonumber(delivery)) == 'died'
      end
      return meta[1] == 'completed' and meta[2] == worker and meta[3] == delivery
    end, id, meta)
  elseif how == 'dead' then
    add_cost(job, cost)
    die(job, first, second, third)
    codes[i], ended = 1, ended + 1
  else
    local whole = (second ~= '' or third ~= '') and load(id)
    local redo = third ~= '' and whole.document
      and commit_document(whole, third, title, model ~= '' and model or nil, tonumber(chunks), tonumber(size))
    if redo then
      codes[i] = 0
      if redo == 'swept' then
        schedule(whole, now + 1000, uncounted(whole), whole.deferrals)
      else
        hand_back(whole)
      end
    else
      add_cost(job, cost)
      if second ~= '' and whole.conversation_id then
        redis.call('ZADD', q .. 'turns:' .. whole.tenant .. ':' .. whole.conversation_id,
          redis.call('HINCRBY', q .. 'counters', 'turns', 1), id)
        redis.call('HSET', q .. 'turn', id, second)
      end
      conclude(job, 'completed', job.attempt)
      together('HSET', q .. 'results', id, first)
      codes[i], ended = 1, ended + 1
    end
  end
end

local whole_call, trouble = pcall(function()
  for i = 1, count do
    finish(i)
  end
end)
flush()
if ended > 0 then
  note_drain(ended)
end
if not whole_call then
  error(trouble, 0)
end
return { codes, changed }
