-- Adds what calls for a job cost to its record.
-- ?1 id, ?2 calls, ?3 prompt tokens, ?4 completion tokens, ?5 wasted tokens
UPDATE jobs SET calls = calls + ?2, prompt_tokens = prompt_tokens + ?3, completion_tokens = completion_tokens + ?4,
    wasted_tokens = wasted_tokens + ?5
WHERE id = ?1
