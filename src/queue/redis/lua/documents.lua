-- The document registry: which version of each document is seen. It changes only together with the jobs
-- that carry the changes out. Put after job.lua, before each script.
--
-- `document:TENANT:ID` is a document's record; an empty field stands for none. From it follow, in save():
-- the lists `documents:TENANT` and `documents:TENANT:COLLECTION`, the sums `collection:TENANT:COLLECTION`
-- and their names in `collections:TENANT`, what is to be swept (`sweeps`) and what may be forgotten
-- (`tombstones`), the last two by TENANT:ID. A tenant's name holds no colon.

local DOCUMENT_NUMBERS = {
  latest_version = true, applied_version = true, chunk_version = true, chunks = true, size_bytes = true,
  created_at = true, updated_at = true, waiting = true, dead = true, revision = true, swept = true,
  claim = true, claim_until = true,
}

local function listed(document)
  return document.chunk_version ~= nil or document.waiting > 0
    or (document.outcome == 'failed' and document.latest_change == 'put')
end

local function read_document(tenant, id)
  local fields = redis.call('HGETALL', q .. 'document:' .. tenant .. ':' .. id)
  if #fields == 0 then
    return nil
  end
  local document = { tenant = tenant, id = id }
  for i = 1, #fields, 2 do
    if fields[i + 1] ~= '' then
      document[fields[i]] = DOCUMENT_NUMBERS[fields[i]] and tonumber(fields[i + 1]) or fields[i + 1]
    end
  end
  document.was = {
    listed = listed(document), collection = document.collection, chunks = document.chunks,
    size_bytes = document.size_bytes,
  }
  return document
end

local function count(document, part, sign)
  local sums = q .. 'collection:' .. document.tenant .. ':' .. part.collection
  local list = q .. 'documents:' .. document.tenant .. ':' .. part.collection
  -- Plus zero: the server takes -0 for no number.
  redis.call('HINCRBY', sums, 'chunks', sign * part.chunks + 0)
  redis.call('HINCRBY', sums, 'size_bytes', sign * part.size_bytes + 0)
  if redis.call('HINCRBY', sums, 'documents', sign) == 0 then
    redis.call('DEL', sums)
    redis.call('SREM', q .. 'collections:' .. document.tenant, part.collection)
  elseif sign > 0 then
    redis.call('SADD', q .. 'collections:' .. document.tenant, part.collection)
  end
  if sign > 0 then
    redis.call('ZADD', list, 0, document.id)
    redis.call('ZADD', q .. 'documents:' .. document.tenant, 0, document.id)
  else
    redis.call('ZREM', list, document.id)
    redis.call('ZREM', q .. 'documents:' .. document.tenant, document.id)
  end
end

local function in_set(set, member, score, belongs)
  if belongs then
    redis.call('ZADD', set, score, member)
  else
    redis.call('ZREM', set, member)
  end
end

local DOCUMENT_FIELDS = {
  'collection', 'title', 'source', 'latest_version', 'latest_change', 'outcome', 'applied_version',
  'chunk_version', 'content_hash', 'embedding_model', 'chunks', 'size_bytes', 'created_at', 'updated_at',
  'job_id', 'error', 'waiting', 'dead', 'revision', 'swept', 'claim', 'claim_until',
}

local function save_document(document)
  local was, key = document.was, document.tenant .. ':' .. document.id
  if was.listed then
    count(document, was, -1)
  end
  if listed(document) then
    count(document, document, 1)
  end
  local to_sweep = document.revision > document.swept
  in_set(q .. 'sweeps', key, 0, to_sweep and document.waiting == 0)
  in_set(q .. 'tombstones', key, document.updated_at,
    not document.chunk_version and document.waiting == 0 and document.dead == 0 and not to_sweep)
  local fields = {}
  for _, name in ipairs(DOCUMENT_FIELDS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = document[name] or ''
  end
  redis.call('HSET', q .. 'document:' .. key, unpack(fields))
end

-- Gives a change its version and makes it the newest submission of its document.
local function submit_document(tenant, id, change, collection, title, source, job_id)
  local document = read_document(tenant, id)
  if not document then
    document = {
      tenant = tenant, id = id, latest_version = 0, applied_version = 0, chunks = 0, size_bytes = 0,
      created_at = now, updated_at = now, waiting = 0, dead = 0, revision = 0, swept = 0,
      collection = collection, title = title, source = source, was = { listed = false },
    }
  elseif not document.chunk_version and change == 'put' then
    document.collection, document.title, document.source = collection, title, source
  end
  if not document.was.listed then
    document.created_at = now
  end
  if not document.chunk_version then
    document.updated_at = now
  end
  document.latest_version = document.latest_version + 1
  document.latest_change, document.outcome, document.error = change, 'waiting', nil
  document.job_id, document.waiting = job_id, document.waiting + 1
  save_document(document)
  return document.latest_version
end

-- Applies what an ingestion made of its document; the highest version wins, whatever the order. Returns nil
-- when it may, or 'replaced' (the content was replaced since it was compared) or 'swept' (a sweep that began
-- before may take the new chunks with it) when the job is to be done again.
local function commit_document(job, outcome, title, embedding_model, chunks, size_bytes)
  local document = read_document(job.tenant, job.document.document_id)
  if not document or job.version <= document.applied_version or outcome == 'superseded' then
    return nil
  end
  if outcome == 'unchanged' then
    if document.content_hash ~= job.document.content_hash then
      return 'replaced'
    end
  elseif outcome == 'deleted' then
    document.chunk_version, document.content_hash, document.chunks, document.size_bytes = nil, nil, 0, 0
    document.updated_at = now
  else
    if document.claim_until and document.claim_until > now then
      return 'swept'
    end
    document.chunk_version, document.content_hash = job.version, job.document.content_hash
    document.collection, document.title = job.document.collection, title
    document.source = job.document.source ~= cjson.null and job.document.source or nil
    document.embedding_model, document.chunks, document.size_bytes = embedding_model, chunks, size_bytes
    document.updated_at = now
  end
  document.applied_version = job.version
  save_document(document)
  return nil
end

-- A job of the document became final: applied, failed (with its failure, JSON) or dropped.
local function document_job_ended(job, outcome, failure)
  local document = read_document(job.tenant, job.document.document_id)
  if not document then
    return
  end
  document.waiting = document.waiting - 1
  if outcome == 'failed' then
    document.dead = document.dead + 1
  end
  -- A job that was never handed over wrote nothing, and a first version can't have left another behind.
  if job.delivery > 0 and (job.version > 1 or outcome ~= 'applied') then
    document.revision = document.revision + 1
  end
  if document.latest_version == job.version then
    document.outcome, document.error = outcome, failure
  end
  save_document(document)
end

-- A dead ingestion waits again, or was removed.
local function document_letter_taken(job, outcome)
  local document = read_document(job.tenant, job.document.document_id)
  if not document then
    return
  end
  document.dead = document.dead - 1
  if outcome == 'waiting' then
    document.waiting = document.waiting + 1
  elseif not document.chunk_version then
    document.updated_at = now
  end
  if document.latest_version == job.version then
    document.outcome = outcome
    if outcome == 'waiting' then
      document.error = nil
    end
  end
  save_document(document)
end
