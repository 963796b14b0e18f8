-- The id of the request that submitted a job, unless it is the job's own.

ALTER TABLE jobs ADD COLUMN request_id TEXT;
