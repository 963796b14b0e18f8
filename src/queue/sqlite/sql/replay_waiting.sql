-- Letters that a replay put back and has not seen end, in the order of their numbers.
-- ?1 job of the replay, ?2 after this number, ?3 at most so many
-- Returns number, status (null: it is gone), code.
SELECT letter, status, code FROM replays_waiting LEFT JOIN jobs ON job = letter
WHERE replay = ?1 AND letter > ?2 ORDER BY letter LIMIT ?3
