//! One partition of an internal topic, led by this broker, around a pure machine.
//!
//! - `active`: the machine with those who wait for it: decide, append, apply, hold, release
//! - `batch`: records to a batch
//! - `replay`: the partition's log to a machine
//! - `run`: the task of a shard: loading, releasing, ticks, changes of the metadata
//! - `refusal`: what an append's error means to a coordinator's client
//!
//! | state   | replayed and `loaded` | cannot be replayed | machine panics | reign over |
//! |---------|-----------------------|--------------------|----------------|------------|
//! | Loading | Active                | Failed             | Failed         | Closed     |
//! | Active  | -                     | -                  | Failed         | Closed     |
//! | Failed  | -                     | -                  | -              | Closed     |
//!
//! What is decided is applied at once and answered once the high watermark has passed all that the
//! decision was based on. With the reign everything ends that was not committed: the next leader,
//! be it this broker again, replays what is left.
//!
//! Lock order: a shard's state, then what `replication::Partition` takes. Never across an await.

mod active;
mod batch;
mod refusal;
mod replay;
mod run;
#[cfg(test)]
pub(crate) mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::metadata::Image;
use crate::protocol::DecodeError;
use crate::record::Compression;
use crate::replication::Partition;
use crate::storage::Offload;
use crate::types::machine::Machine;
use crate::types::{Clock, ErrorCode, LeaderEpoch, Monotonic};

use active::Active;

/// One request that waits for an answer. A shard never gives a number twice; other shards, and
/// the same partition in a later reign, give their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A machine whose log is a partition of an internal topic.
///
/// The records of one decision are one batch: all or nothing. If the append is refused nothing has
/// changed and only the request that was being decided gets the error. A request whose decision
/// holds no reply for it is parked: a later decision answers it, once.
pub trait ShardMachine:
    Machine<Reply = (RequestId, Self::Answer), Effect: Send> + Send + Sync + 'static
{
    /// What a request is answered.
    type Answer: Send + 'static;

    /// A record as it is stored; no value: a tombstone.
    fn encode(record: &Self::Record) -> (Bytes, Option<Bytes>);

    /// A stored record; `None`: of a kind that this version has no use for (Kafka skips those too).
    ///
    /// # Errors
    /// The record is damaged: the partition cannot be loaded.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError>;

    /// When `Self::tick()` shall be decided next.
    fn next_deadline(&self) -> Option<Monotonic>;

    /// Time has passed.
    fn tick() -> Self::Command;

    /// The log has been replayed: all deadlines begin anew.
    fn loaded() -> Self::Command;

    /// The cluster's metadata is this now (given after `loaded`, then on each change).
    fn metadata_changed(image: Arc<Image>) -> Self::Command;
}

/// What shards need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOptions {
    /// How long an answer may wait for the high watermark (`offsets.commit.timeout.ms`).
    pub commit_timeout: Duration,
    /// How much of the log is read at once while it is replayed (`offsets.load.buffer.size`).
    pub load_buffer_bytes: usize,
    /// How records are packed (`offsets.topic.compression.codec`).
    pub compression: Compression,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            commit_timeout: Duration::from_secs(5),
            load_buffer_bytes: 5 * 1024 * 1024,
            compression: Compression::None,
        }
    }
}

/// What a machine's effects are handed to, once the decision is committed. It must not block, nor
/// ask the shard for anything: it is called under the shard's lock.
pub type Perform<M> = Arc<dyn Fn(<M as Machine>::Effect) + Send + Sync>;

/// The ways out of a shard.
#[derive(Debug, Clone)]
pub struct ShardSeams {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the log is replayed.
    pub offload: Arc<dyn Offload>,
}

/// See the module's documentation.
enum State<M: ShardMachine> {
    Loading,
    Active(Box<Active<M>>),
    Failed,
    Closed,
}

impl<M: ShardMachine> State<M> {
    fn refusal(&self) -> ErrorCode {
        match self {
            State::Loading => ErrorCode::CoordinatorLoadInProgress,
            // A partition that cannot be loaded has no coordinator here, as in Kafka.
            State::Active(_) | State::Failed | State::Closed => ErrorCode::NotCoordinator,
        }
    }
}

/// One partition of an internal topic in one reign of this broker.
pub struct Shard<M: ShardMachine> {
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    seams: ShardSeams,
    options: ShardOptions,
    perform: Perform<M>,
    state: Mutex<State<M>>,
    /// The task has to look again: an answer is held, or a deadline has come nearer.
    wake: Notify,
}

impl<M: ShardMachine> std::fmt::Debug for Shard<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("partition", &self.partition)
            .field("leader_epoch", &self.leader_epoch)
            .finish_non_exhaustive()
    }
}

impl<M: ShardMachine> Shard<M> {
    /// The shard of `partition` in the reign `leader_epoch`. It is loading until it runs.
    pub fn new(
        partition: Arc<Partition>,
        leader_epoch: LeaderEpoch,
        seams: ShardSeams,
        options: ShardOptions,
        perform: Perform<M>,
    ) -> Arc<Self> {
        Arc::new(Self {
            partition,
            leader_epoch,
            seams,
            options,
            perform,
            state: Mutex::new(State::Loading),
            wake: Notify::new(),
        })
    }

    /// The reign that it lives in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Has the machine decide what `make` gives, at once; the answer comes once all that it was
    /// based on is committed. Dropping it leaves nothing behind here, but what was decided stays.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS; NOT_COORDINATOR if the reign is over or may be;
    /// COORDINATOR_NOT_AVAILABLE if the ISR is too small or the high watermark stands still for
    /// `offsets.commit.timeout.ms`; UNKNOWN_SERVER_ERROR if the records do not fit into the log.
    pub fn submit(self: &Arc<Self>, make: impl FnOnce(RequestId) -> M::Command) -> Submission<M> {
        let entered = self.enter(make).map(|(id, receiver)| Entered {
            shard: Arc::clone(self),
            id,
            receiver,
            answered: false,
        });
        Submission { entered }
    }

    fn enter(
        &self,
        make: impl FnOnce(RequestId) -> M::Command,
    ) -> Result<(RequestId, Receiver<M>), ErrorCode> {
        self.partition.check_live().map_err(refusal::of)?;
        let (entered, over, look_again) = self.with_active(|active| {
            let entered = active.request(self.seams.now(), make);
            let over = active.release(self.is_live()).is_err();
            (entered, over, active.needs_the_task())
        })?;
        if over {
            self.close();
        } else if look_again {
            self.wake.notify_one();
        }
        entered
    }

    /// Runs `run` on the active machine; an error if there is none. A panic within leaves
    /// [`State::Failed`] behind: what is changed by half is never shown.
    fn with_active<T>(&self, run: impl FnOnce(&mut Active<M>) -> T) -> Result<T, ErrorCode> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Failed) {
            State::Active(mut active) => {
                let result = run(&mut active);
                *state = State::Active(active);
                Ok(result)
            }
            other => {
                *state = other;
                Err(state.refusal())
            }
        }
    }

    fn is_live(&self) -> bool {
        self.partition.check_live().is_ok()
    }

    /// Whether it is the shard of that very replica: a topic made again has others.
    pub fn is_of(&self, partition: &Arc<Partition>) -> bool {
        Arc::ptr_eq(&self.partition, partition)
    }

    /// Serves no more in this reign: something is broken. All who wait get NOT_COORDINATOR.
    pub fn fail(&self) {
        self.become_state(State::Failed);
    }

    /// Ends the shard: its reign is over. All who wait get NOT_COORDINATOR.
    pub fn close(&self) {
        self.become_state(State::Closed);
        self.wake.notify_one();
    }

    fn become_state(&self, next: State<M>) {
        let mut state = self.state.lock();
        let before = match &*state {
            State::Closed => return,
            State::Loading | State::Active(_) | State::Failed => {
                std::mem::replace(&mut *state, next)
            }
        };
        drop(state);
        // Whole groups may go here, and those who wait for them wake.
        drop(before);
    }
}

impl ShardSeams {
    fn now(&self) -> crate::types::machine::Now {
        crate::types::machine::Now { monotonic: self.clock.monotonic(), wall: self.clock.wall() }
    }
}

type Receiver<M> = oneshot::Receiver<Result<<M as ShardMachine>::Answer, ErrorCode>>;

/// A request that was submitted: see [`Shard::submit`].
#[must_use]
pub struct Submission<M: ShardMachine> {
    entered: Result<Entered<M>, ErrorCode>,
}

/// A request's place among those who wait, given up when it is dropped.
struct Entered<M: ShardMachine> {
    shard: Arc<Shard<M>>,
    id: RequestId,
    receiver: Receiver<M>,
    answered: bool,
}

impl<M: ShardMachine> Submission<M> {
    /// One that was refused before it came to a shard.
    pub fn refused(error: ErrorCode) -> Self {
        Self { entered: Err(error) }
    }
}

impl<M: ShardMachine> Future for Submission<M> {
    type Output = Result<M::Answer, ErrorCode>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.entered {
            Err(error) => Poll::Ready(Err(*error)),
            Ok(entered) => {
                let answer = ready!(Pin::new(&mut entered.receiver).poll(context));
                entered.answered = true;
                // The shard has ended, and all who waited for it.
                Poll::Ready(answer.unwrap_or(Err(ErrorCode::NotCoordinator)))
            }
        }
    }
}

impl<M: ShardMachine> Drop for Entered<M> {
    fn drop(&mut self) {
        if !self.answered {
            // No machine, no place in it: an error needs nothing to be done.
            self.shard.with_active(|active| active.leave(self.id)).unwrap_or_default();
        }
    }
}
