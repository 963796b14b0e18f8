-- Stores the bytes of a document ahead of its submit; they expire unless the submit keeps them.
-- ARGV[4] id of the job, ARGV[5] the bytes, ARGV[6] kept so long (seconds)
-- Returns nothing.

local id, bytes, expires = take(), take(), take()
-- A submit that is sent again must not make what the first one kept expire.
if redis.call('HEXISTS', q .. 'data', id) == 0 then
  redis.call('SET', q .. 'upload:' .. id, bytes, 'EX', expires)
end
return redis.status_reply('OK')
