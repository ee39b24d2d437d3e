//! The answers of one connection: they become ready in any order and leave in that of the
//! requests.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::net::service::Answer;

/// What a request has come to.
enum Slot {
    Ready(Answer),
    Waiting(BoxFuture<'static, Answer>),
}

/// The answers that have not left yet.
#[derive(Default)]
pub struct Answers {
    /// In the order of the requests.
    slots: VecDeque<Slot>,
    waiting: usize,
    ready_bytes: usize,
}

impl Answers {
    /// The next request is answered already.
    pub fn push(&mut self, answer: Answer) {
        self.ready_bytes += size_bytes(&answer);
        self.slots.push_back(Slot::Ready(answer));
    }

    /// The next request is answered once `answer` is there.
    pub fn push_later(&mut self, answer: BoxFuture<'static, Answer>) {
        self.waiting += 1;
        self.slots.push_back(Slot::Waiting(answer));
    }

    /// Takes the next answer that may leave.
    pub fn pop(&mut self) -> Option<Answer> {
        match self.slots.pop_front()? {
            Slot::Ready(answer) => {
                self.ready_bytes -= size_bytes(&answer);
                Some(answer)
            }
            waiting @ Slot::Waiting(_) => {
                self.slots.push_front(waiting);
                None
            }
        }
    }

    /// Waits until at least one more answer is there; for ever if none is outstanding. Once those
    /// that are ready weigh `enough_bytes`, only the first in line is looked at: the others could
    /// not leave before it. May be dropped and called again.
    pub async fn wait(&mut self, enough_bytes: usize) {
        poll_fn(|context| self.poll(context, enough_bytes)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>, enough_bytes: usize) -> Poll<()> {
        let mut came = Poll::Pending;
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if at > 0 && self.ready_bytes >= enough_bytes {
                break;
            }
            let Slot::Waiting(future) = slot else { continue };
            if let Poll::Ready(answer) = future.poll_unpin(context) {
                self.ready_bytes += size_bytes(&answer);
                self.waiting -= 1;
                *slot = Slot::Ready(answer);
                came = Poll::Ready(());
            }
        }
        came
    }

    /// Whether an answer is still waited for.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// How many requests are not answered yet, or wait behind one that is not.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether all has left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What those that are ready weigh.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }
}

fn size_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Response(parts) => parts.iter().map(Bytes::len).sum(),
        Answer::None | Answer::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::sync::oneshot;

    use super::*;

    fn response(text: &'static str) -> Answer {
        Answer::Response(vec![Bytes::from_static(text.as_bytes())])
    }

    fn popped(answers: &mut Answers) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(answer) = answers.pop() {
            texts.push(match answer {
                Answer::Response(parts) => String::from_utf8(parts.concat()).unwrap(),
                Answer::None => "-".to_owned(),
                Answer::Close(reason) => reason,
            });
        }
        texts
    }

    #[tokio::test]
    async fn answers_leave_in_the_order_of_the_requests() {
        let mut answers = Answers::default();
        let (first, wait_first) = oneshot::channel();
        let (third, wait_third) = oneshot::channel();
        answers.push_later(Box::pin(async { wait_first.await.unwrap() }));
        answers.push(response("second"));
        answers.push_later(Box::pin(async { wait_third.await.unwrap() }));
        answers.push(Answer::None);
        assert_eq!((popped(&mut answers), answers.ready_bytes()), (vec![], 6));
        third.send(response("third")).unwrap();
        answers.wait(100).await;
        assert_eq!((popped(&mut answers), answers.ready_bytes()), (vec![], 11));
        first.send(response("first")).unwrap();
        answers.wait(100).await;
        assert_eq!(popped(&mut answers), ["first", "second", "third", "-"]);
        assert_eq!((answers.len(), answers.ready_bytes()), (0, 0));
        assert!(!answers.is_waiting());
    }

    #[tokio::test]
    async fn a_slow_first_answer_keeps_the_others_from_piling_up_but_not_itself() {
        let mut answers = Answers::default();
        let (first, wait_first) = oneshot::channel();
        answers.push_later(Box::pin(async { wait_first.await.unwrap() }));
        for _ in 0..10 {
            answers.push_later(Box::pin(std::future::ready(response("four"))));
        }
        answers.wait(10).await;
        assert_eq!(answers.ready_bytes(), 12);
        assert!(answers.wait(10).now_or_never().is_none());
        first.send(response("first")).unwrap();
        answers.wait(10).await;
        assert_eq!(popped(&mut answers).len(), 4);
    }
}
