-- The kinds that are not handed out.
SELECT kind FROM paused
