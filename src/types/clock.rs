//! Time comes in through here: a monotonic clock for intervals, a wall clock for timestamps.
//! Pure rooms take the reading as an argument; shells hold a [`Clock`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A reading of a monotonic clock: time since some fixed moment of this process's life.
/// Readings of different processes cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `after` from this one.
    pub fn plus(self, after: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(after))
    }
}

/// Milliseconds since the Unix epoch, as in record timestamps. -1 means "none" on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// "No timestamp" on the wire and in batches.
    pub const NONE: TimestampMs = TimestampMs(-1);
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Both clocks of one node. In simulation each node has its own, with its own drift and jumps.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// For intervals, timeouts and sessions. Never goes back.
    fn monotonic(&self) -> Monotonic;
    /// For timestamps that people and clients see. May jump.
    fn wall(&self) -> TimestampMs;
}

/// The machine's clocks. The monotonic one is tokio's, so that a paused or simulated runtime
/// moves it.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.start.elapsed())
    }

    fn wall(&self) -> TimestampMs {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved: for tests and simulation.
#[derive(Debug, Default)]
pub struct ManualClock {
    reading: parking_lot::Mutex<(Monotonic, TimestampMs)>,
}

impl ManualClock {
    /// A clock whose wall time is `wall`.
    pub fn at(wall: TimestampMs) -> Self {
        Self { reading: parking_lot::Mutex::new((Monotonic::default(), wall)) }
    }

    /// Moves both clocks on by `step`.
    pub fn advance(&self, step: Duration) {
        let mut reading = self.reading.lock();
        reading.0 = reading.0.plus(step);
        reading.1.0 += i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        self.reading.lock().0
    }

    fn wall(&self) -> TimestampMs {
        self.reading.lock().1
    }
}
