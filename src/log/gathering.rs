//! Requests of one kind that come from many sides at once and are served together: while one round
//! is served, the next gathers. A thousand logs that are made share one sync of their directory and
//! one flush of the catalog.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::storage::{Offload, OffloadError};

/// Rounds of requests `Q`, each answered with an `A`.
pub(crate) struct Gathering<Q, A> {
    state: Mutex<State<Q, A>>,
}

struct State<Q, A> {
    waiting: Vec<(Q, oneshot::Sender<A>)>,
    /// A job is under way that serves what waits before it ends.
    is_served: bool,
}

impl<Q, A> Default for Gathering<Q, A> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: Vec::new(), is_served: false }) }
    }
}

impl<Q, A> fmt::Debug for Gathering<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathering").finish_non_exhaustive()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Gathering<Q, A> {
    /// Has `request` served by `serve`, with others that wait, in the order in which they came.
    /// `serve` gives an answer for each. Dropped, what was asked for still happens.
    ///
    /// # Errors
    /// The job was dropped, or panicked.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        offload: &dyn Offload,
        request: Q,
        serve: impl FnMut(Vec<Q>) -> Vec<A> + Send + 'static,
    ) -> Result<A, OffloadError> {
        let (sender, answer) = oneshot::channel();
        let begins = {
            let mut state = self.state.lock();
            state.waiting.push((request, sender));
            !std::mem::replace(&mut state.is_served, true)
        };
        if begins {
            let serving = Serving { gathering: Arc::clone(self), has_ended: false };
            offload.run(Box::new(move || serving.run(serve)));
        }
        answer.await.map_err(|_| OffloadError::Stopped)
    }
}

/// The job that serves. If it is dropped unrun, whoever waits learns that nobody will answer, and
/// the next request begins another.
struct Serving<Q, A> {
    gathering: Arc<Gathering<Q, A>>,
    has_ended: bool,
}

impl<Q, A> Serving<Q, A> {
    fn run(mut self, mut serve: impl FnMut(Vec<Q>) -> Vec<A>) {
        while let Some((requests, senders)) = self.next_round() {
            let Ok(answers) = catch_unwind(AssertUnwindSafe(|| serve(requests))) else {
                // Those who asked learn it by their senders' end, the next are served all the same.
                tracing::error!("a round of requests has panicked");
                continue;
            };
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever is gone needs no answer.
                let _ = sender.send(answer);
            }
        }
    }

    /// What waits; `None`, and the job has ended, if nothing does.
    fn next_round(&mut self) -> Option<(Vec<Q>, Vec<oneshot::Sender<A>>)> {
        let mut state = self.gathering.state.lock();
        if state.waiting.is_empty() {
            state.is_served = false;
            self.has_ended = true;
            return None;
        }
        Some(std::mem::take(&mut state.waiting).into_iter().unzip())
    }
}

impl<Q, A> Drop for Serving<Q, A> {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.gathering.state.lock();
            state.waiting.clear();
            state.is_served = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::mpsc;

    use super::*;
    use crate::storage::{InlineOffload, ThreadOffload};

    fn doubled(requests: Vec<u32>) -> Vec<(u32, usize)> {
        let together = requests.len();
        requests.into_iter().map(|request| (request * 2, together)).collect()
    }

    #[tokio::test]
    async fn what_comes_while_a_round_is_served_shares_the_next() {
        let offload = ThreadOffload::start("gathering", 1).unwrap();
        let gathering: Arc<Gathering<u32, (u32, usize)>> = Arc::default();
        let (release, released) = mpsc::channel::<()>();
        offload.run(Box::new(move || released.recv().unwrap_or_default()));
        let asked = (1..=5).map(|request| gathering.ask(&offload, request, doubled));
        let mut asked = std::pin::pin!(futures::future::join_all(asked));
        // Polled once, all wait for the one thread.
        assert!(futures::poll!(&mut asked).is_pending());
        release.send(()).unwrap();
        let answers: Vec<_> = asked.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [2, 4, 6, 8, 10].map(|answer| (answer, 5)));
    }

    #[tokio::test]
    async fn each_is_served_even_if_it_comes_alone() {
        let gathering: Arc<Gathering<u32, (u32, usize)>> = Arc::default();
        for request in 0..3 {
            let answer = gathering.ask(&InlineOffload, request, doubled).await;
            assert_eq!(answer, Ok((request * 2, 1)));
        }
    }

    /// Drops every job.
    #[derive(Debug)]
    struct ShuttingDown;

    impl Offload for ShuttingDown {
        fn run(&self, job: Box<dyn FnOnce() + Send>) {
            drop(job);
        }
    }

    #[tokio::test]
    async fn a_job_that_is_dropped_leaves_nobody_waiting_and_the_next_begins_anew() {
        let gathering: Arc<Gathering<u32, (u32, usize)>> = Arc::default();
        let answer = gathering.ask(&ShuttingDown, 1, doubled).await;
        assert_eq!(answer, Err(OffloadError::Stopped));
        assert_eq!(gathering.ask(&InlineOffload, 2, doubled).await, Ok((4, 1)));
    }

    #[tokio::test]
    async fn a_job_that_panics_leaves_nobody_waiting() {
        let offload = ThreadOffload::start("gathering", 1).unwrap();
        let gathering: Arc<Gathering<u32, (u32, usize)>> = Arc::default();
        // The job that has panicked may serve the next request, too.
        let serve = |requests: Vec<u32>| {
            assert_ne!(requests, [1], "on demand");
            doubled(requests)
        };
        assert_eq!(gathering.ask(&offload, 1, serve).await, Err(OffloadError::Stopped));
        assert_eq!(gathering.ask(&offload, 2, serve).await, Ok((4, 1)));
    }
}
