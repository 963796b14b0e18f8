-- Adds a question and its answer to a conversation.
-- ?1 job, ?2 tenant, ?3 conversation_id, ?4 now, ?5 question, ?6 answer
INSERT INTO turns (job, tenant, conversation_id, at, question, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT DO NOTHING
