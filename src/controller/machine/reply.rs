//! What the active controller answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metadata::{ConfigResource, LeaderRecoveryState};
use crate::types::{
    BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, PartitionId, ProducerId, TopicId,
    TopicPartition,
};

/// Why something was not done: Kafka's error, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error on the wire.
    pub code: ErrorCode,
    /// What is wrong, in Kafka's words where Kafka has them.
    pub message: String,
}

impl Refusal {
    /// A refusal that says `message`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.message())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

/// An answer to a [`super::Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or nothing had to be done.
    Done,
    /// The command as a whole was refused; nothing changed.
    Refused(Refusal),
    /// The broker is registered, and fenced until it asks for more.
    Registered {
        /// The number of the registration.
        broker_epoch: BrokerEpoch,
    },
    /// Per partition, in the order asked.
    AlteredPartitions(Vec<AlteredPartition>),
    /// Per topic, in the order asked.
    CreatedTopics(Vec<CreatedTopic>),
    /// Per topic, in the order asked.
    DeletedTopics(Vec<DeletedTopic>),
    /// Per topic, in the order asked.
    CreatedPartitions(Vec<CreatedPartitions>),
    /// Per partition; of partitions that nobody named only those for which something was done.
    ElectedLeaders(Vec<ElectedLeader>),
    /// The ids from `first` on are the broker's to give out.
    ProducerIds {
        /// The first of them.
        first: ProducerId,
        /// How many.
        count: i32,
    },
    /// Per resource, in the order asked.
    AlteredConfigs(Vec<AlteredConfig>),
}

impl Reply {
    /// A refusal as a reply.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }
}

/// What became of one partition of an AlterPartition: its registration now, or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredPartition {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
    /// [`ErrorCode::None`], or why nothing was changed; then the fields below hold nothing.
    pub error: ErrorCode,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// In which reign.
    pub leader_epoch: LeaderEpoch,
    /// The ISR.
    pub isr: Vec<NodeId>,
    /// The eligible leaders outside the ISR: while there are any, the leader commits nothing.
    pub elr: Vec<NodeId>,
    /// Whether an unclean election is still to be repaired.
    pub recovery: LeaderRecoveryState,
    /// The registration's version.
    pub partition_epoch: PartitionEpoch,
}

/// What became of one topic to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// It was created (or would be), or why not.
    pub result: Result<TopicSummary, Refusal>,
}

/// A topic as it was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSummary {
    /// Its identity; all zero if it was only validated.
    pub topic_id: TopicId,
    /// How many partitions.
    pub num_partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
}

/// What became of one topic to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Its name, if that was given or is known.
    pub name: Option<String>,
    /// Its identity; all zero if that was not given and is not known.
    pub topic_id: TopicId,
    /// Whether it was deleted, or why not.
    pub result: Result<(), Refusal>,
}

/// What became of one topic that partitions were to be added to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedPartitions {
    /// The topic.
    pub topic: String,
    /// Whether they were added, or why not.
    pub result: Result<(), Refusal>,
}

/// What became of one election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectedLeader {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Whether a leader was elected, or why not.
    pub result: Result<(), Refusal>,
}

/// What became of one resource's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredConfig {
    /// Whose.
    pub resource: ConfigResource,
    /// Whether it was changed, or why not.
    pub result: Result<(), Refusal>,
}
