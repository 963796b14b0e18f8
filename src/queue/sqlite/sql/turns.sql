-- The last turns of a conversation.
-- ?1 tenant, ?2 conversation_id, ?3 at most so many
-- Returns question, answer, newest first.
SELECT question, answer FROM turns WHERE tenant = ?1 AND conversation_id = ?2 ORDER BY at DESC, job DESC LIMIT ?3
