-- The uploaded bytes of a job's document; none were kept: empty (a deletion).
-- ?1 id
-- Returns them; no row: the job is gone.
SELECT coalesce(uploads.bytes, x'') FROM jobs LEFT JOIN uploads USING (job) WHERE id = ?1
