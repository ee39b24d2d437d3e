//! The machine with those who wait for it: decide, append, apply, hold, release.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Perform, Receiver, RequestId, ShardMachine, ShardOptions, batch, refusal};
use crate::replication::Partition;
use crate::types::machine::Now;
use crate::types::{ErrorCode, LeaderEpoch, Monotonic, Offset};

type Answered<M> = Result<<M as ShardMachine>::Answer, ErrorCode>;

/// An answer that is not to be told before the log is committed up to `end`.
struct Held<M: ShardMachine> {
    id: RequestId,
    answer: M::Answer,
    end: Offset,
    /// When to give up. Later answers have later deadlines and ends.
    deadline: Monotonic,
}

/// A machine that has caught up with its log.
pub(super) struct Active<M: ShardMachine> {
    machine: M,
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    options: ShardOptions,
    perform: Perform<M>,
    /// One past the last record that is folded in.
    end: Offset,
    last_request: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answered<M>>>,
    held: VecDeque<Held<M>>,
    /// What is to be done once the log is committed up to there.
    effects: VecDeque<(Offset, M::Effect)>,
    /// When the task looks again by itself.
    armed: Option<Monotonic>,
}

impl<M: ShardMachine> Active<M> {
    pub(super) fn new(
        machine: M,
        end: Offset,
        partition: Arc<Partition>,
        leader_epoch: LeaderEpoch,
        options: ShardOptions,
        perform: Perform<M>,
    ) -> Self {
        Self {
            machine,
            partition,
            leader_epoch,
            options,
            perform,
            end,
            last_request: 0,
            waiting: BTreeMap::new(),
            held: VecDeque::new(),
            effects: VecDeque::new(),
            armed: None,
        }
    }

    /// Decides a client's request, who then waits for the answer.
    pub(super) fn request(
        &mut self,
        now: Now,
        make: impl FnOnce(RequestId) -> M::Command,
    ) -> Result<(RequestId, Receiver<M>), ErrorCode> {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(id, sender);
        match self.decide(now, make(id)) {
            Ok(()) => Ok((id, receiver)),
            Err(error) => {
                self.waiting.remove(&id);
                Err(error)
            }
        }
    }

    /// Decides `command`. If the log does not take the records nothing has happened.
    pub(super) fn decide(&mut self, now: Now, command: M::Command) -> Result<(), ErrorCode> {
        let decision = self.machine.decide(now, command);
        if !decision.records.is_empty() {
            self.append(now, &decision.records)?;
            for record in &decision.records {
                self.machine.apply(record);
            }
        }
        for note in decision.notes {
            self.machine.note(note);
        }
        self.effects.extend(decision.effects.into_iter().map(|effect| (self.end, effect)));
        let (end, deadline) = (self.end, now.monotonic.plus(self.options.commit_timeout));
        for (id, answer) in decision.replies {
            if self.waiting.contains_key(&id) {
                self.held.push_back(Held { id, answer, end, deadline });
            }
        }
        Ok(())
    }

    fn append(&mut self, now: Now, records: &[M::Record]) -> Result<(), ErrorCode> {
        let partition = self.partition.topic_partition();
        let batch = batch::encode::<M>(records, now.wall, self.options.compression);
        let batch = batch.map_err(|error| {
            tracing::error!(%partition, %error, "a coordinator's records fit into no batch");
            ErrorCode::UnknownServerError
        })?;
        match self.partition.produce_in_reign(batch, self.leader_epoch) {
            Ok(produced) => {
                self.end = produced.next_offset;
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%partition, %error, "a coordinator's records were not taken");
                Err(refusal::of(error.code))
            }
        }
    }

    /// Gives out the answers that may be told, or NOT_COORDINATOR in their place if the broker is
    /// not `live`; does what is to be done.
    ///
    /// # Errors
    /// The reign is over.
    pub(super) fn release(&mut self, live: bool) -> Result<(), ReignOver> {
        let committed =
            self.partition.committed_in_reign(self.leader_epoch).map_err(|_| ReignOver)?;
        while let Some(held) = self.held.pop_front_if(|held| held.end <= committed) {
            let answer = if live { Ok(held.answer) } else { Err(ErrorCode::NotCoordinator) };
            self.answer(held.id, answer);
        }
        while let Some((_, effect)) = self.effects.pop_front_if(|(end, _)| *end <= committed) {
            (self.perform)(effect);
        }
        Ok(())
    }

    /// Gives up the answers that have waited too long.
    pub(super) fn expire(&mut self, now: Monotonic) {
        while let Some(held) = self.held.pop_front_if(|held| held.deadline <= now) {
            self.answer(held.id, Err(refusal::of(ErrorCode::RequestTimedOut)));
        }
    }

    /// Gives up all answers that are held, with `error`.
    pub(super) fn refuse_held(&mut self, error: ErrorCode) {
        while let Some(held) = self.held.pop_front() {
            self.answer(held.id, Err(error));
        }
    }

    fn answer(&mut self, id: RequestId, answer: Answered<M>) {
        if let Some(sender) = self.waiting.remove(&id) {
            // Whoever asked may have gone this very moment.
            let _ = sender.send(answer);
        }
    }

    /// Nobody waits for that request any more.
    pub(super) fn leave(&mut self, id: RequestId) {
        self.waiting.remove(&id);
    }

    /// When the machine wants to be ticked.
    pub(super) fn tick_due(&self) -> Option<Monotonic> {
        self.machine.next_deadline()
    }

    /// When the first answer that is held is given up.
    pub(super) fn first_expiry(&self) -> Option<Monotonic> {
        self.held.front().map(|held| held.deadline)
    }

    /// Whether answers wait for what is appended to be synced here.
    pub(super) fn needs_sync(&self) -> bool {
        let synced = self.partition.log().flushed_offset();
        self.partition.flushes_before_ack() && self.held.back().is_some_and(|it| it.end > synced)
    }

    /// The task looks again at `armed`.
    pub(super) fn arm(&mut self, armed: Option<Monotonic>) {
        self.armed = armed;
    }

    /// Whether the task has to look again before the time that it knows of.
    pub(super) fn needs_the_task(&self) -> bool {
        let due = earliest(self.tick_due(), self.first_expiry());
        let sooner = match (due, self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, armed) => due.is_some() && armed.is_none(),
        };
        sooner || self.needs_sync()
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.held.len())
    }

    #[cfg(test)]
    pub(super) fn machine(&self) -> &M {
        &self.machine
    }
}

/// This broker does not lead the partition any more, or does so anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReignOver;

/// The earlier of two moments, either of which may never come.
pub(super) fn earliest(one: Option<Monotonic>, other: Option<Monotonic>) -> Option<Monotonic> {
    one.into_iter().chain(other).min()
}
