-- Whether a lease is still the job's.
-- ARGV[4] id, ARGV[5] worker, ARGV[6] delivery
-- Returns 1, or 0.

return held(take(), take(), take()) and 1 or 0
