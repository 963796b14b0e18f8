-- Adds to a count of an interval.
-- ?1 when it began, ?2 name, ?3 count
INSERT INTO history (at, name, number) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET number = number + excluded.number
