//! Blocking work that takes its time: on a slow disk much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla::storage::Offload;
use ottla::types::Random;

use super::pause::Pause;

/// How slow a machine's disks are at the moment: the longest that a job waits, in microseconds.
#[derive(Debug, Default)]
pub struct Slowness(AtomicU64);

impl Slowness {
    /// Jobs wait for at most `longest` from now on.
    pub fn set(&self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }
}

/// Runs each job as a task, after a delay that the seed draws.
#[derive(Debug)]
pub struct SimOffload {
    pub random: Arc<dyn Random>,
    pub slowness: Arc<Slowness>,
    pub pause: Arc<Pause>,
}

/// How often a job of a paused process looks whether it goes on.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Offload for SimOffload {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        let longest = self.slowness.0.load(Ordering::Relaxed);
        let delay = Duration::from_micros(self.random.below(longest));
        // A process that is being torn down has no runtime any more: its jobs are dropped.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pause = Arc::clone(&self.pause);
        runtime.spawn(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            while pause.is_on() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            job();
        });
    }
}
