-- Stores the uploaded bytes of a document.
-- ?1 job, ?2 bytes
INSERT INTO uploads (job, bytes) VALUES (?1, ?2)
