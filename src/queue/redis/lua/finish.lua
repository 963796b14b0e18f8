-- Ends running jobs. A stale lease changes nothing.
-- ARGV[4] how many; for each: id, worker, delivery, then
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
  ids[i] = ARGV[5 + (i - 1) * 12]
end
for i, line in ipairs(redis.call('HMGET', q .. 'first', unpack(ids))) do
  lines[ids[i]] = line
end
for i = 1, count do
  local id, worker, delivery, how, first, second, third, title, model, chunks, size, cost = take_all(12)
  local job, meta = held(id, worker, delivery)
  if not job then
    codes[i] = was_settled(meta, worker, delivery) and 1 or 0
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
      together('HSET', q .. 'results', id, first)
      conclude(job, 'completed', job.attempt)
      if second ~= '' and whole.conversation_id then
        redis.call('ZADD', q .. 'turns:' .. whole.tenant .. ':' .. whole.conversation_id,
          redis.call('HINCRBY', q .. 'counters', 'turns', 1), id)
        redis.call('HSET', q .. 'turn', id, second)
      end
      codes[i], ended = 1, ended + 1
    end
  end
end
flush()
if ended > 0 then
  note_drain(ended)
end
return { codes, changed }
