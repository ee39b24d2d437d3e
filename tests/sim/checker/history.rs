//! What clients did and saw: operations by process, in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ottla::types::{Offset, ProducerId};

/// One client: it does one thing after the other, but for sends, of which several may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub u32);

/// One partition of one incarnation of a topic: a topic that was made again has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    pub topic: u32,
    pub partition: i32,
}

/// What a record holds; each is sent once. The upper half may name the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub u64);

/// A record's key, for logs that are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u64);

/// A transaction of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// Whose acknowledgement a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    Zero,
    One,
    All,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    Acknowledged(T),
    /// It certainly had no effect, and will have none.
    Failed,
    /// No answer, or one that does not tell; it may still take effect.
    Unknown,
}

impl<T> Outcome<T> {
    /// What was answered.
    pub fn acknowledged(&self) -> Option<&T> {
        match self {
            Outcome::Acknowledged(answer) => Some(answer),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

/// One record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub log: Log,
    pub value: Value,
    pub key: Option<Key>,
    /// The record removes its key.
    pub tombstone: bool,
    pub acks: Acks,
    /// None: not idempotent; a retry may append the record again.
    pub producer: Option<ProducerId>,
    pub transaction: Option<TransactionId>,
    /// The offset, if the acknowledgement tells it: with acks=0 it does not.
    pub outcome: Outcome<Option<Offset>>,
}

/// What a poll gave of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    pub log: Log,
    /// Where the consumer stood before.
    pub from: Offset,
    pub records: Vec<(Offset, Value)>,
}

/// How an attempt to create or delete a topic ended, where it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicAnswer {
    Done,
    /// The topic is there already, or is not there.
    NothingToDo,
}

/// What a client asked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Send(Send),
    Poll {
        /// With `isolation.level=read_committed`.
        committed: bool,
        outcome: Outcome<Vec<Polled>>,
    },
    Assign {
        logs: BTreeSet<Log>,
        /// By a group's rebalance: records may come again, and a group may have gone on elsewhere.
        subscribed: bool,
    },
    Seek {
        log: Log,
        to: Offset,
    },
    EndTransaction {
        transaction: TransactionId,
        commit: bool,
        outcome: Outcome<()>,
    },
    CreateTopic {
        name: String,
        outcome: Outcome<TopicAnswer>,
    },
    DeleteTopic {
        name: String,
        outcome: Outcome<TopicAnswer>,
    },
    ListTopics {
        /// Answered by the active controller; a broker's answer may lag behind.
        current: bool,
        outcome: Outcome<BTreeSet<String>>,
    },
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub process: Process,
    pub invoked: Duration,
    /// When it was answered, or was given up.
    pub completed: Duration,
    pub action: Action,
}

/// What is in a log in the end, read with `read_committed` once all replicas were whole again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinalRead {
    /// Where the log starts: what lies before was deleted.
    pub start: Offset,
    pub records: Vec<(Offset, Value)>,
}

/// What is not promised of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concessions {
    /// Of each key only the last record stays.
    pub compacted: bool,
    /// An unclean leader was elected, or as many machines as `min.insync.replicas` lost power.
    pub may_lose: bool,
}

/// A whole run. Operations stand in the order in which they were invoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub operations: Vec<Operation>,
    pub final_reads: BTreeMap<Log, FinalRead>,
    pub concessions: BTreeMap<Log, Concessions>,
}

impl History {
    /// What is not promised of that log.
    pub fn concessions(&self, log: Log) -> Concessions {
        self.concessions.get(&log).copied().unwrap_or_default()
    }

    /// The sends, each with its place among the operations.
    pub fn sends(&self) -> impl Iterator<Item = (usize, &Operation, &Send)> {
        self.operations.iter().enumerate().filter_map(|(place, operation)| {
            match &operation.action {
                Action::Send(send) => Some((place, operation, send)),
                _ => None,
            }
        })
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}
