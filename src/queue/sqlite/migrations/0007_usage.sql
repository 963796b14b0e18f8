-- What a job's calls to model providers cost, over all its attempts.

ALTER TABLE jobs ADD COLUMN calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN completion_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN wasted_tokens INTEGER NOT NULL DEFAULT 0;
