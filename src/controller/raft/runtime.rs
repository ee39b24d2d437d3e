//! tokio as openraft's runtime, but with randomness from our seam, so that a simulated cluster
//! elects the same leaders for the same seed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use rand_core_06::{Error, RngCore, impls};

use crate::types::Random;
use crate::types::random::SystemRandom;

/// The part of a wait by which it may be longer.
const JITTER: u64 = 8;

tokio::task_local! {
    /// Where the raft tasks of one node draw from; handed on to every task that they spawn.
    static RANDOM: Arc<dyn Random>;
}

/// Runs `future` so that raft tasks born in it draw from `random`.
pub async fn with_random<F: Future>(random: Arc<dyn Random>, future: F) -> F::Output {
    RANDOM.scope(random, future).await
}

/// tokio, drawing election timeouts from [`Random`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SeededRuntime;

/// [`Random`] with the interface that openraft's generation of `rand` expects.
#[derive(Debug)]
pub struct TaskRandom(Arc<dyn Random>);

impl RngCore for TaskRandom {
    fn next_u32(&mut self) -> u32 {
        (self.0.bits() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.bits()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        impls::fill_bytes_via_next(self, dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl AsyncRuntime for SeededRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = TaskRandom;
    type OneshotSender<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;
    type OneshotReceiver<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match RANDOM.try_with(Arc::clone) {
            Ok(random) => TokioRuntime::spawn(RANDOM.scope(random, future)),
            Err(_) => TokioRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    /// A little longer, by chance. openraft ticks so, and looks only then whether it is time for an
    /// election; the time itself it draws once. Two voters that tick together, as after a power
    /// failure of both, would stand against each other in every election.
    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        let wait = deadline.saturating_duration_since(Self::Instant::now());
        let longest_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / JITTER;
        let longer = Self::thread_rng().0.below(longest_us);
        TokioRuntime::sleep_until(deadline + Duration::from_micros(longer))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TaskRandom(RANDOM.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(SystemRandom)))
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        TokioRuntime::oneshot()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::random::SeededRandom;

    #[tokio::test]
    async fn a_spawned_task_draws_from_its_parents_seed() {
        let draw = |seed| async move {
            with_random(Arc::new(SeededRandom::new(seed)), async {
                SeededRuntime::spawn(async { SeededRuntime::thread_rng().next_u64() })
                    .await
                    .unwrap()
            })
            .await
        };
        assert_eq!(draw(7).await, draw(7).await);
        assert_ne!(draw(7).await, draw(8).await);
    }

    #[tokio::test(start_paused = true)]
    async fn voters_do_not_tick_together_for_ever() {
        let tick = Duration::from_millis(75);
        let ticks = |seed| async move {
            with_random(Arc::new(SeededRandom::new(seed)), async {
                let mut waits = Vec::new();
                for _ in 0..10 {
                    let began = tokio::time::Instant::now();
                    SeededRuntime::sleep_until(began + tick).await;
                    waits.push(began.elapsed());
                }
                waits
            })
            .await
        };
        let (one, other) = (ticks(1).await, ticks(2).await);
        assert!(one.iter().all(|wait| (tick..=tick * 9 / 8 + tick / 50).contains(wait)), "{one:?}");
        assert_ne!(one.iter().sum::<Duration>(), other.iter().sum::<Duration>());
    }
}
