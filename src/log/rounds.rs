//! Requests of one kind that tasks make at the same time, and that whoever comes first serves
//! together, on his own thread: appends to one log share one write. Who comes while a round is served
//! waits without blocking a worker, and one of those who wait serves the next.

use std::collections::VecDeque;
use std::fmt;

use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use tokio::sync::oneshot;

/// One request, or more. Answers are given in the order of the requests.
pub type Round<T> = SmallVec<[T; 1]>;

/// After requests that have met, for so many rounds the first to come lets others have their turn.
const ROUNDS_OF_A_CROWD: u32 = 8;
/// Where none have met, one in so many does so, to see whether there are others.
const PROBED: u32 = 64;

/// The round was not served to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was asked for ended without an answer")]
pub struct Unserved;

/// Rounds of requests `Q`, each answered with an `A`.
pub struct Rounds<Q, A> {
    state: Mutex<State<Q, A>>,
}

struct State<Q, A> {
    /// In the order in which they came: no more than there are tasks that ask.
    waiting: VecDeque<(Q, oneshot::Sender<Told<Q, A>>)>,
    /// Somebody serves, or was told to.
    is_served: bool,
    crowded: u32,
    alone: u32,
}

/// What one who waits is told.
enum Told<Q, A> {
    Answer(A),
    /// To serve the next round, which begins with these requests; his own is the last of them.
    Serve(Round<Q>),
}

enum Entered<Q, A> {
    First { request: Q, lets_others: bool },
    Behind(oneshot::Receiver<Told<Q, A>>),
}

impl<Q, A> Default for Rounds<Q, A> {
    fn default() -> Self {
        let state = State { waiting: VecDeque::new(), is_served: false, crowded: 0, alone: 0 };
        Self { state: Mutex::new(state) }
    }
}

impl<Q, A> fmt::Debug for Rounds<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rounds").finish_non_exhaustive()
    }
}

impl<Q, A> Rounds<Q, A> {
    /// Has `request` served, with others that come at the same time, in the order in which they
    /// came. `serve` gives an answer for each. Dropped, what was asked for still happens, once this
    /// has been polled.
    ///
    /// # Errors
    /// Whoever served the round panicked.
    pub async fn ask(
        &self,
        request: Q,
        serve: impl Fn(Round<Q>) -> Round<A>,
    ) -> Result<A, Unserved> {
        let mut turn = Turn { rounds: self, serve, held: Held::Nothing };
        match self.enter(request) {
            Entered::First { request, lets_others } => {
                turn.held = Held::Round(smallvec![request]);
                if lets_others {
                    tokio::task::yield_now().await;
                }
            }
            Entered::Behind(told) => {
                turn.held = Held::Place(told);
                match turn.told().await? {
                    Told::Answer(answer) => return Ok(answer),
                    Told::Serve(round) => turn.held = Held::Round(round),
                }
            }
        }
        turn.serve_held().ok_or(Unserved)
    }

    fn enter(&self, request: Q) -> Entered<Q, A> {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.is_served, true) {
            state.alone = (state.alone + 1) % PROBED;
            let lets_others = state.crowded > 0 || state.alone == 0;
            state.crowded = state.crowded.saturating_sub(1);
            return Entered::First { request, lets_others };
        }
        state.crowded = ROUNDS_OF_A_CROWD;
        let (sender, told) = oneshot::channel();
        state.waiting.push_back((request, sender));
        Entered::Behind(told)
    }

    /// Has the first of those who wait serve. Requests of which nobody waits any more are given
    /// back if nobody is left to serve them.
    fn pass_on(&self) -> Round<Q> {
        let mut round = Round::new();
        loop {
            let mut state = self.state.lock();
            let Some((request, next)) = state.waiting.pop_front() else {
                state.is_served = !round.is_empty();
                return round;
            };
            drop(state);
            round.push(request);
            match next.send(Told::Serve(round)) {
                Ok(()) => return Round::new(),
                // He is gone.
                Err(Told::Serve(back)) => round = back,
                Err(Told::Answer(_)) => return Round::new(),
            }
        }
    }
}

/// What one who asks has to see to, even if he is dropped.
enum Held<Q, A> {
    Nothing,
    /// His request waits with others; he may be told to serve.
    Place(oneshot::Receiver<Told<Q, A>>),
    /// He is to serve a round that begins with these; his own request is the last of them.
    Round(Round<Q>),
    /// He serves.
    Serving,
}

struct Turn<'a, Q, A, F: Fn(Round<Q>) -> Round<A>> {
    rounds: &'a Rounds<Q, A>,
    serve: F,
    held: Held<Q, A>,
}

impl<Q, A, F: Fn(Round<Q>) -> Round<A>> Turn<'_, Q, A, F> {
    async fn told(&mut self) -> Result<Told<Q, A>, Unserved> {
        match &mut self.held {
            Held::Place(told) => told.await.map_err(|_| Unserved),
            Held::Nothing | Held::Round(_) | Held::Serving => Err(Unserved),
        }
    }

    /// Serves what he holds, and all who wait by now; then it is the turn of another. Gives the
    /// answer to his own request.
    fn serve_held(&mut self) -> Option<A> {
        let Held::Round(mut round) = std::mem::replace(&mut self.held, Held::Serving) else {
            return None;
        };
        let mut own = None;
        while !round.is_empty() {
            let held = round.len();
            let waiting = std::mem::take(&mut self.rounds.state.lock().waiting);
            let mut senders = Vec::with_capacity(waiting.len());
            for (request, sender) in waiting {
                round.push(request);
                senders.push(sender);
            }
            let mut answers = (self.serve)(round).into_iter();
            let mut of_held = answers.by_ref().take(held);
            own = own.or(of_held.by_ref().last());
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever is gone needs no answer.
                let _ = sender.send(Told::Answer(answer));
            }
            round = self.rounds.pass_on();
        }
        self.held = Held::Nothing;
        own
    }
}

impl<Q, A, F: Fn(Round<Q>) -> Round<A>> Drop for Turn<'_, Q, A, F> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Place(mut told) => {
                told.close();
                if let Ok(Told::Serve(round)) = told.try_recv() {
                    self.held = Held::Round(round);
                    self.serve_held();
                }
            }
            Held::Round(round) => {
                self.held = Held::Round(round);
                self.serve_held();
            }
            // It panicked. Those who asked learn it by their senders' end.
            Held::Serving => {
                let mut state = self.rounds.state.lock();
                state.waiting.clear();
                state.is_served = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::cell::RefCell;
    use std::panic::AssertUnwindSafe;
    use std::pin::Pin;
    use std::task::Poll;

    use futures::{FutureExt, poll};

    use super::*;

    type Numbers = Rounds<u32, (u32, usize)>;

    /// Each request doubled, and how many were served together.
    fn doubled(round: Round<u32>) -> Round<(u32, usize)> {
        let together = round.len();
        round.into_iter().map(|request| (request * 2, together)).collect()
    }

    fn crowded() -> Numbers {
        let rounds = Numbers::default();
        rounds.state.lock().crowded = 1;
        rounds
    }

    #[tokio::test]
    async fn one_that_comes_alone_is_served_at_once() {
        let rounds = Numbers::default();
        for request in 1..PROBED {
            let answer = poll!(Box::pin(rounds.ask(request, doubled)));
            assert_eq!(answer, Poll::Ready(Ok((request * 2, 1))));
        }
        assert_eq!(poll!(Box::pin(rounds.ask(0, doubled))), Poll::Pending, "it looks for others");
        assert_eq!(rounds.ask(7, doubled).await, Ok((14, 1)));
    }

    #[tokio::test]
    async fn where_requests_meet_they_share_a_round_in_their_order() {
        let rounds = crowded();
        let asked = (1..=5).map(|request| rounds.ask(request, doubled));
        let answers = futures::future::join_all(asked).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [2, 4, 6, 8, 10].map(|answer| (answer, 5)));
        assert_eq!(rounds.state.lock().crowded, ROUNDS_OF_A_CROWD, "it goes on so");
    }

    #[tokio::test]
    async fn whoever_is_dropped_has_his_request_served_and_leaves_nobody_waiting() {
        for dropped in [0, 1, 2] {
            let rounds = crowded();
            let served = RefCell::new(Vec::new());
            let serve = |round: Round<u32>| {
                served.borrow_mut().extend(round.iter().copied());
                doubled(round)
            };
            let mut asked: Vec<_> =
                (0..3).map(|request| Box::pin(rounds.ask(request, serve))).collect();
            for one in &mut asked {
                assert!(poll!(one).is_pending());
            }
            drop(asked.remove(dropped));
            futures::future::join_all(asked).await.into_iter().for_each(|it| _ = it.unwrap());
            assert_eq!(*served.borrow(), [0, 1, 2], "{dropped} was dropped");
            assert!(!rounds.state.lock().is_served);
        }
    }

    type Asking<'a> = Pin<Box<dyn Future<Output = Result<(u32, usize), Unserved>> + 'a>>;

    /// While the first is served, two more come; the first of them is told to serve the next round,
    /// before or after it is dropped.
    #[tokio::test]
    async fn the_next_round_is_served_by_one_who_waits_even_if_he_is_gone() {
        for (when, expected) in [("never", (6, 2)), ("before", (6, 2)), ("after", (6, 2))] {
            let rounds = Numbers::default();
            let later: RefCell<Vec<Asking<'_>>> = RefCell::default();
            let first = rounds.ask(1, |round| {
                for request in [2, 3] {
                    let mut next: Asking<'_> = Box::pin(rounds.ask(request, doubled));
                    assert!(next.as_mut().now_or_never().is_none(), "it waits");
                    later.borrow_mut().push(next);
                }
                if when == "before" {
                    drop(later.borrow_mut().remove(0));
                }
                doubled(round)
            });
            assert_eq!(first.await, Ok((2, 1)));
            if when == "after" {
                drop(later.borrow_mut().remove(0));
            }
            let rest = futures::future::join_all(later.take()).await;
            assert_eq!(rest.last(), Some(&Ok(expected)), "dropped {when}");
            assert!(!rounds.state.lock().is_served);
        }
    }

    #[tokio::test]
    async fn a_round_that_panics_leaves_nobody_waiting() {
        let rounds = crowded();
        let serve = |round: Round<u32>| {
            assert_ne!(round[0], 1, "on demand");
            doubled(round)
        };
        let mut first = Box::pin(AssertUnwindSafe(rounds.ask(1, serve)).catch_unwind());
        let mut second = Box::pin(rounds.ask(2, serve));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        first.await.unwrap_err();
        assert_eq!(second.await, Err(Unserved));
        assert_eq!(rounds.ask(3, serve).await, Ok((6, 1)));
    }
}
