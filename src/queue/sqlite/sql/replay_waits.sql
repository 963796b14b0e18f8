-- Remembers that a replay put a letter back.
-- ?1 job of the replay, ?2 job put back
INSERT INTO replays_waiting (replay, letter) VALUES (?1, ?2) ON CONFLICT DO NOTHING
