-- A letter that a replay put back has ended.
-- ?1 job of the replay, ?2 job put back
DELETE FROM replays_waiting WHERE replay = ?1 AND letter = ?2
