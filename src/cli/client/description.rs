//! What admin requests answer, as tools print it.

use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId};

/// A topic and its partitions, sorted by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; zero if the broker told none.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition as a broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: PartitionId,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those that may lead although the ISR is below its minimum; `None` if the broker cannot tell.
    pub elr: Option<Vec<NodeId>>,
    /// The last ISR and ELR that was known; `None` if the broker cannot tell.
    pub last_known_elr: Option<Vec<NodeId>>,
}

/// One configuration of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its key.
    pub name: String,
    /// Its value; `None` if it is a secret or not set.
    pub value: Option<String>,
    /// Whether nobody set it: neither the topic, nor a broker, nor a configuration file.
    pub is_default: bool,
}
