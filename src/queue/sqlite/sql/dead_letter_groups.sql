-- The causes of dead letters with their counts, largest first.
-- ?1 reason or null, ?2 code or null, ?3 kind or null
-- Returns reason, code, count.
SELECT reason, code, count(*) FROM jobs
WHERE status = 'dead' AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR kind = ?3)
GROUP BY reason, code ORDER BY count(*) DESC, reason, code
