-- Writes pieces of answers to the logs of running jobs.
-- ARGV[4] how many; for each: id, worker, delivery, a number that rises with each piece
-- of the process, text (JSON)
-- Returns a list of 0 (stale), 1 (applied) or 2 (applied, and somebody reads the log).

local codes = {}
for i = 1, take_number() do
  local id, worker, delivery, number, text = take(), take(), take(), take(), take()
  local job = held(id, worker, delivery)
  if not job then
    codes[i] = 0
  else
    -- A piece that is sent again, or so late that others overtook it, is there already.
    local last = redis.call('LINDEX', q .. 'events:' .. id, -1)
    local last_number = last and tonumber(string.match(last, '^%d+ delta (%d+) ')) or -1
    if last_number < tonumber(number) then
      log(job, 'delta ' .. number .. ' ' .. text)
      announce(id, 'running')
    end
    local read_until = tonumber(redis.call('ZSCORE', q .. 'readers', id))
    codes[i] = read_until and read_until > now and 2 or 1
  end
end
return codes
