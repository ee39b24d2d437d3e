//! Work on many things, shared between the caller and the threads of an [`Offload`].

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::offload::{Offload, OffloadError};
use super::sled_catalog::panic_text;

/// Does `work` on each of `items`, on the caller's thread and on at most `threads - 1` others of
/// `offload`, and gives the results in the order of the items. The caller may be one of those
/// threads: others that are busy are not waited for, only what they have begun.
///
/// # Errors
/// `work` panicked; the rest is done all the same.
pub fn share_out<T: Send + 'static, R: Send + 'static>(
    offload: &dyn Offload,
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, OffloadError> {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            results: items.iter().map(|_| None).collect(),
            waiting: items.into_iter().enumerate().collect(),
            begun: 0,
            panicked: None,
        }),
        changed: Condvar::new(),
        work,
    });
    let helpers = threads.min(shared.state.lock().results.len()).saturating_sub(1);
    for _ in 0..helpers {
        let shared = Arc::clone(&shared);
        offload.run(Box::new(move || shared.help()));
    }
    shared.help();
    let mut state = shared.state.lock();
    while state.begun > 0 {
        shared.changed.wait(&mut state);
    }
    match state.panicked.take() {
        Some(message) => Err(OffloadError::Panicked(message)),
        None => Ok(state.results.drain(..).flatten().collect()),
    }
}

struct Shared<T, R, W> {
    state: Mutex<State<T, R>>,
    changed: Condvar,
    work: W,
}

struct State<T, R> {
    waiting: VecDeque<(usize, T)>,
    /// How many are worked on.
    begun: usize,
    results: Vec<Option<R>>,
    panicked: Option<String>,
}

impl<T, R, W: Fn(T) -> R> Shared<T, R, W> {
    /// Works until nothing waits.
    fn help(&self) {
        while let Some((index, item)) = self.begin() {
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(item)));
            let mut state = self.state.lock();
            state.begun -= 1;
            match result {
                Ok(result) => state.results[index] = Some(result),
                Err(panic) => state.panicked = Some(panic_text(&*panic)),
            }
            self.changed.notify_all();
        }
    }

    fn begin(&self) -> Option<(usize, T)> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front()?;
        state.begun += 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::Barrier;

    use super::*;
    use crate::storage::{InlineOffload, ThreadOffload};

    #[test]
    fn results_come_in_the_order_of_the_items_however_many_share_the_work() {
        let offload = ThreadOffload::start("share", 3).unwrap();
        for threads in [0, 1, 2, 4, 100] {
            let items: Vec<u32> = (0..50).collect();
            let doubled = share_out(&offload, threads, items.clone(), |item| item * 2).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
        assert_eq!(share_out(&InlineOffload, 4, vec![1, 2], |item| item + 1), Ok(vec![2, 3]));
        assert_eq!(share_out(&offload, 4, Vec::<u32>::new(), |item| item), Ok(vec![]));
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        let offload = ThreadOffload::start("share", 1).unwrap();
        // Each of the two goes on only once the other has begun.
        let both = Barrier::new(2);
        let met = share_out(&offload, 2, vec![1, 2], move |item| {
            both.wait();
            item
        });
        assert_eq!(met, Ok(vec![1, 2]));
    }

    #[test]
    fn a_thread_may_share_out_what_it_does_with_its_own_pool() {
        let offload = Arc::new(ThreadOffload::start("share", 1).unwrap());
        let pool = Arc::clone(&offload);
        let (done, wait) = std::sync::mpsc::channel();
        offload.run(Box::new(move || {
            done.send(share_out(&*pool, 8, vec![1, 2, 3], |item| item)).unwrap();
        }));
        let shared = wait.recv_timeout(std::time::Duration::from_secs(20)).expect("waited 20 s");
        assert_eq!(shared, Ok(vec![1, 2, 3]));
    }

    #[test]
    fn a_panic_is_an_error_and_leaves_nobody_waiting() {
        let offload = ThreadOffload::start("share", 2).unwrap();
        let shared = share_out(&offload, 3, (0..20).collect(), |item: u32| {
            assert_ne!(item, 7, "on demand");
            item
        });
        assert!(
            matches!(shared, Err(OffloadError::Panicked(message)) if message.contains("demand"))
        );
    }
}
