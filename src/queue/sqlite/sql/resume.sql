-- Hands a kind out again.
-- ?1 kind
DELETE FROM paused WHERE kind = ?1
