//! The clocks of one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla::types::{Clock, Monotonic, TimestampMs};

use super::pause::Pause;
use crate::trace::Trace;

/// When every simulation begins, by the wall clocks: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// How a machine's clocks differ from true time. Outlives the processes.
#[derive(Debug, Default)]
pub struct Skew {
    /// By how much the wall clock is ahead.
    pub wall_ms: AtomicI64,
    /// By how much both clocks are too fast, in parts per million.
    pub drift_ppm: AtomicI64,
}

impl Skew {
    /// The wall clock is ahead by that.
    pub fn set_wall(&self, ahead_ms: i64) {
        self.wall_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Both clocks are too fast by that.
    pub fn set_drift(&self, ppm: i64) {
        self.drift_ppm.store(ppm, Ordering::Relaxed);
    }
}

/// The clocks of one process: simulated time, a little wrong.
#[derive(Debug)]
pub struct SimClock {
    /// tokio's time when the process began: it moves with the simulation.
    origin: tokio::time::Instant,
    /// How long the simulation had been running then.
    since_start: Duration,
    trace: Arc<Trace>,
    skew: Arc<Skew>,
    pause: Arc<Pause>,
}

impl SimClock {
    /// For a process that begins now.
    pub fn begin(trace: Arc<Trace>, skew: Arc<Skew>, pause: Arc<Pause>) -> Self {
        let (origin, since_start) = (tokio::time::Instant::now(), trace.now());
        Self { origin, since_start, trace, skew, pause }
    }

    /// Since the simulation began, as far as the process saw it. Whoever looks into the process
    /// from without, between two steps, has no tokio.
    fn seen(&self) -> Duration {
        let is_within = tokio::runtime::Handle::try_current().is_ok();
        self.pause.seen(match is_within {
            true => self.since_start + self.origin.elapsed(),
            false => self.trace.now(),
        })
    }

    fn drifted(&self, true_time: Duration) -> Duration {
        let micros = i64::try_from(true_time.as_micros()).unwrap_or(i64::MAX);
        let drift = micros / 1_000 * self.skew.drift_ppm.load(Ordering::Relaxed) / 1_000;
        Duration::from_micros(u64::try_from(micros + drift).unwrap_or_default())
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.drifted(self.seen().saturating_sub(self.since_start)))
    }

    fn wall(&self) -> TimestampMs {
        let elapsed = self.drifted(self.seen());
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        TimestampMs(EPOCH_MS + elapsed_ms + self.skew.wall_ms.load(Ordering::Relaxed))
    }
}
