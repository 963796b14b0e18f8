-- Waiting and running jobs can be counted per kind from their indexes alone.
DROP INDEX jobs_scheduled;
CREATE INDEX jobs_scheduled ON jobs (due_at, kind) WHERE status = 'scheduled';
DROP INDEX jobs_running;
CREATE INDEX jobs_running ON jobs (worker, place, kind) WHERE status = 'running';
