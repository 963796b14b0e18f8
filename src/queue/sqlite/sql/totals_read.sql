-- Jobs per status, the bytes of those not final, the last place given out.
SELECT queued, scheduled, running, completed, dead, cancelled, bytes, place FROM totals
