//! Where work runs that may block: threads of our own in production, the caller in tests.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::sled_catalog::panic_text;

/// A piece of blocking work.
type Job = Box<dyn FnOnce() + Send>;

/// Runs blocking work away from the async workers.
pub trait Offload: Send + Sync + fmt::Debug {
    /// Runs `job`, soon and once; drops it unrun if shutting down.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// It panicked; with its message.
    #[error("the job panicked: {0}")]
    Panicked(String),
    /// The threads are shutting down, and it was not begun.
    #[error("the job was dropped: shutting down")]
    Stopped,
}

/// Runs `job` on `offload` and waits for its result. A panic in it is an error. If the future is
/// dropped, a job that was handed over still runs to its end.
pub async fn offload<T: Send + 'static>(
    offload: &dyn Offload,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OffloadError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    offload.run(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(job))
            .map_err(|panic| OffloadError::Panicked(panic_text(&*panic)));
        // Nobody waits any more: the job's effect is what counts.
        let _ = sender.send(result);
    }));
    receiver.await.unwrap_or(Err(OffloadError::Stopped))
}

/// How many threads this machine can run at a time, as far as it tells; at least 1.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs each job at once, on the caller's thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineOffload;

impl Offload for InlineOffload {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

/// A fixed number of threads. Dropping it waits for the jobs that were handed over.
pub struct ThreadOffload {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl ThreadOffload {
    /// Starts `count` threads (at least one), named `name-0` and so on.
    pub fn start(name: &str, count: usize) -> io::Result<ThreadOffload> {
        let mut pool = ThreadOffload { queue: Arc::default(), threads: Vec::new() };
        for index in 0..count.max(1) {
            let queue = pool.queue.clone();
            let builder = thread::Builder::new().name(format!("{name}-{index}"));
            pool.threads.push(builder.spawn(move || queue.work())?);
        }
        Ok(pool)
    }

    /// How many jobs wait for a thread.
    pub fn queued(&self) -> usize {
        self.queue.state.lock().jobs.len()
    }
}

impl fmt::Debug for ThreadOffload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadOffload")
            .field("threads", &self.threads.len())
            .field("queued", &self.queued())
            .finish()
    }
}

impl Offload for ThreadOffload {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.queue.state.lock().jobs.push_back(job);
        self.queue.changed.notify_one();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
                tracing::error!(message = panic_text(&*panic), "a background job panicked");
            }
        }
    }

    /// Waits for a job; `None` when all are done and no more will come.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

impl Drop for ThreadOffload {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A job may hold the last reference to its own pool; a thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
