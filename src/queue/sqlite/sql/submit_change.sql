-- Stores the document change that a job carries out.
-- ?1 job, ?2 tenant, ?3 document_id, ?4 version, ?5 data
INSERT INTO changes (job, tenant, document_id, version, data) VALUES (?1, ?2, ?3, ?4, ?5)
