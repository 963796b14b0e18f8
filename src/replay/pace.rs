//! A steady rate: letters are due at fixed instants, counted from the beginning, so that it does not drift.

use std::time::Duration;

use tokio::time::Instant;

/// Letters closer together than this go together.
const TICK: Duration = Duration::from_millis(50);

/// So many a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    per_second: f64,
    begun: Instant,
    given: u64,
}

impl Steady {
    /// From now on, the first at once.
    pub(super) fn new(per_second: f64, begun: Instant) -> Self {
        Self { per_second, begun, given: 0 }
    }

    /// How many are due. What a stall has cost is made up for no more than a second: letters must not come in a flood.
    pub(super) fn due(&mut self, now: Instant) -> u64 {
        let due = (now.duration_since(self.begun).as_secs_f64() * self.per_second) as u64 + 1;
        let most = self.per_second.ceil() as u64;
        self.given = self.given.max(due.saturating_sub(most));
        due.saturating_sub(self.given)
    }

    /// So many were put back.
    pub(super) fn gave(&mut self, count: u64) {
        self.given += count;
    }

    /// When to ask again: at once, if a step was too small for all that was due.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let next = self.begun + Duration::from_secs_f64(self.given as f64 / self.per_second);
        if next < now { now } else { next.max(now + TICK) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters given in so many seconds, when each step takes `step_ms`.
    fn given(per_second: f64, seconds: u64, step_ms: u64) -> u64 {
        let begun = Instant::now();
        let (mut pace, mut now, mut all) = (Steady::new(per_second, begun), begun, 0);
        while now < begun + Duration::from_secs(seconds) {
            let due = pace.due(now).min(50);
            pace.gave(due);
            all += due;
            now = pace.next(now) + Duration::from_millis(step_ms);
        }
        all
    }

    #[test]
    fn the_rate_does_not_drift_however_long_steps_take() {
        for (per_second, seconds) in [(0.5, 100), (1.0, 100), (7.0, 60), (200.0, 60)] {
            for step_ms in [0, 7, 120] {
                let wanted = per_second * seconds as f64;
                let got = given(per_second, seconds, step_ms) as f64;
                let slack = 2.0 + per_second * 0.2;
                assert!(
                    (got - wanted).abs() <= slack,
                    "{per_second}/s for {seconds} s: {got} in steps of {step_ms} ms"
                );
            }
        }
    }

    #[test]
    fn a_rate_above_what_one_step_gives_in_a_tick_is_kept() {
        for (per_second, step_ms) in [(2_000.0, 0), (2_000.0, 20), (10_000.0, 4)] {
            let got = given(per_second, 10, step_ms) as f64;
            assert!((got / per_second - 10.0).abs() < 0.2, "{per_second}/s in steps of {step_ms} ms: {got}");
        }
    }

    #[test]
    fn a_stall_is_made_up_for_no_more_than_a_second() {
        let begun = Instant::now();
        let mut pace = Steady::new(5.0, begun);
        assert_eq!(pace.due(begun), 1);
        pace.gave(1);
        assert_eq!(pace.due(begun + Duration::from_mins(1)), 5);
        pace.gave(5);
        assert_eq!(pace.due(begun + Duration::from_mins(1)), 0);
        assert_eq!(pace.next(begun + Duration::from_mins(1)), begun + Duration::from_millis(60_200));
    }
}
