//! How fast connections are accepted (`max.connection.creation.rate`).

use std::time::Duration;

use crate::types::Monotonic;

/// Kafka measures the rate over its default quota window: so many seconds' connections may come at once
/// after a silence.
const BURST_SECONDS: f64 = 10.0;

/// The limit that is none.
const UNLIMITED: usize = i32::MAX as usize;

/// The connections of late, each of which is worked off at the rate that is allowed.
#[derive(Debug, Default)]
pub struct Pace {
    accepted: f64,
    at: Monotonic,
}

impl Pace {
    /// One connection more.
    pub fn note(&mut self, rate: usize, now: Monotonic) {
        self.work_off(rate, now);
        self.accepted += 1.0;
    }

    /// How long the newest connection must wait until the rate is kept; none: for ever.
    pub fn wait(&mut self, rate: usize, now: Monotonic) -> Option<Duration> {
        self.work_off(rate, now);
        if rate >= UNLIMITED {
            return Some(Duration::ZERO);
        }
        let per_second = rate as f64;
        let excess = self.accepted - per_second * BURST_SECONDS;
        if excess <= 0.0 {
            return Some(Duration::ZERO);
        }
        (rate > 0).then(|| Duration::from_secs_f64(excess / per_second))
    }

    fn work_off(&mut self, rate: usize, now: Monotonic) {
        let passed = now.since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.accepted = (self.accepted - passed * rate as f64).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn second(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn after_a_burst_connections_come_at_the_rate() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.note(5, second(0));
            assert_eq!(pace.wait(5, second(0)), Some(Duration::ZERO));
        }
        pace.note(5, second(0));
        assert_eq!(pace.wait(5, second(0)), Some(Duration::from_millis(200)));
        assert_eq!(pace.wait(10, second(0)), Some(Duration::ZERO), "the limit was raised");
        assert_eq!(pace.wait(5, second(1)), Some(Duration::ZERO));
        for _ in 0..9 {
            pace.note(5, second(1));
        }
        assert_eq!(pace.wait(5, second(1)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn without_a_limit_nobody_waits_and_with_none_allowed_everybody() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            pace.note(UNLIMITED, second(0));
        }
        assert_eq!(pace.wait(UNLIMITED, second(0)), Some(Duration::ZERO));
        assert_eq!(pace.wait(0, second(0)), None);
    }
}
