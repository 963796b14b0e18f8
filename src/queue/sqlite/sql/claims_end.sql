-- Ends all claims: no sweep of an earlier process goes on. What they were to sweep still is.
UPDATE documents SET claim = NULL, claim_until = NULL WHERE claim IS NOT NULL
