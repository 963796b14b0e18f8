-- A claimed document was swept: ends the claim, and the need unless the registry has moved on.
-- ARGV[4] tenant, ARGV[5] id, ARGV[6] the highest version applied when it was claimed
-- Returns nothing.

local tenant, id, applied_version = take(), take(), take_number()
local document = read_document(tenant, id)
if document and document.claim then
  if document.applied_version == applied_version then
    document.swept = math.max(document.swept, document.claim)
  end
  document.claim, document.claim_until = nil, nil
  save_document(document)
end
return redis.status_reply('OK')
