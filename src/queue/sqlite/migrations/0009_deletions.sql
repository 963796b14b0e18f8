-- Deletions are found by themselves: they go on while the provider of the embeddings is away.
CREATE INDEX changes_that_delete ON changes (job) WHERE data ->> 'change' = 'delete';
