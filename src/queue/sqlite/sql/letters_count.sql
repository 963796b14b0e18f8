-- How many dead letters are of a selection; replays are not replayed.
-- ?1 reason or null, ?2 code or null, ?3 kind or null
SELECT count(*) FROM jobs
WHERE status = 'dead' AND kind <> 'replay'
    AND (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR kind = ?3)
