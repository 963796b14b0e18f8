-- Deletions are found among the queued jobs alone: an index over all changes holds those that are done as well.
ALTER TABLE jobs ADD COLUMN deletes INTEGER NOT NULL DEFAULT 0; -- 1: all it does is to delete a document
UPDATE jobs SET deletes = 1 WHERE job IN (SELECT job FROM changes WHERE data ->> 'change' = 'delete');
DROP INDEX changes_that_delete;
CREATE INDEX jobs_deletions ON jobs (place) WHERE status = 'queued' AND deletes = 1;
