//! A process that does not run for a while (SIGSTOP, a host that swaps): time stands still for it,
//! nothing gets in or out, and no work of its disks ends. Then all of it comes at once.
//!
//! Timers of a paused process do go off, as turmoil's machines cannot be stopped; but by its clocks
//! no time has passed, and what it then says goes out when the pause is over.

use std::time::Duration;

use parking_lot::Mutex;

/// Whether one machine's process is paused. Outlives the processes.
#[derive(Debug, Default)]
pub struct Pause {
    since: Mutex<Option<Duration>>,
}

impl Pause {
    /// It stands still from this moment of the simulation on.
    pub fn begin(&self, now: Duration) {
        *self.since.lock() = Some(now);
    }

    /// It goes on.
    pub fn end(&self) {
        *self.since.lock() = None;
    }

    /// Whether it stands still.
    pub fn is_on(&self) -> bool {
        self.since.lock().is_some()
    }

    /// What its clocks see of `now`.
    pub fn seen(&self, now: Duration) -> Duration {
        self.since.lock().map_or(now, |since| now.min(since))
    }
}
