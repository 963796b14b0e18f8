-- Stops handing out a kind.
-- ?1 kind
INSERT INTO paused (kind) VALUES (?1) ON CONFLICT DO NOTHING
