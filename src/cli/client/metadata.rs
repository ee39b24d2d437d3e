//! What a client knows of the cluster.

use std::collections::BTreeMap;

use crate::net::transport::HostPort;
use crate::protocol::messages::metadata::{MetadataResponse, MetadataResponseTopic};
use crate::types::{ErrorCode, LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};

/// Brokers and topics as the last answers told them.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Who the brokers say to ask for changes.
    pub controller: Option<NodeId>,
    /// The brokers that are registered and not fenced.
    pub brokers: BTreeMap<NodeId, HostPort>,
    /// The topics that were asked about.
    pub topics: BTreeMap<TopicName, TopicMetadata>,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct TopicMetadata {
    /// Why there are no partitions, if there are none.
    pub error: Option<ErrorCode>,
    /// Its id; zero if the broker told none.
    pub id: TopicId,
    /// Whether it is internal.
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: BTreeMap<PartitionId, PartitionMetadata>,
}

/// One partition.
#[derive(Debug, Clone)]
pub struct PartitionMetadata {
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

impl Metadata {
    /// Takes an answer over. Topics that it does not speak of stay as they are.
    pub(super) fn merge(&mut self, response: &MetadataResponse) {
        self.cluster_id = response.cluster_id.as_deref().map(str::to_owned);
        self.controller = node(response.controller_id);
        self.brokers = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some((NodeId(broker.node_id), HostPort::new(broker.host.to_string(), port)))
            })
            .collect();
        for topic in &response.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            let fresh = TopicMetadata::new(topic);
            let name = TopicName::new(name);
            match self.topics.get_mut(&name) {
                // An answer from a broker that lags behind must not bring an old leader back.
                Some(known) if known.id == fresh.id && fresh.error.is_none() => known.update(fresh),
                _ => {
                    self.topics.insert(name, fresh);
                }
            }
        }
    }
}

impl TopicMetadata {
    fn new(topic: &MetadataResponseTopic) -> Self {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| {
                let known = PartitionMetadata {
                    leader: node(partition.leader_id),
                    leader_epoch: LeaderEpoch(partition.leader_epoch),
                    replicas: nodes(&partition.replica_nodes),
                    isr: nodes(&partition.isr_nodes),
                };
                (PartitionId(partition.partition_index), known)
            })
            .collect();
        Self {
            error: ErrorCode::from_code(topic.error_code).filter(|code| !code.is_none()),
            id: TopicId(topic.topic_id),
            is_internal: topic.is_internal,
            partitions,
        }
    }

    /// Takes over what is not older than what is known.
    fn update(&mut self, fresh: TopicMetadata) {
        self.error = fresh.error;
        for (index, partition) in fresh.partitions {
            match self.partitions.get(&index) {
                Some(known) if partition.leader_epoch < known.leader_epoch => {}
                _ => {
                    self.partitions.insert(index, partition);
                }
            }
        }
    }
}

fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

/// Node ids as the wire has them.
pub(super) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::metadata::MetadataResponsePartition;

    fn answer(leader: i32, epoch: i32, id: u128) -> MetadataResponse {
        MetadataResponse {
            topics: vec![MetadataResponseTopic {
                name: Some("orders".into()),
                topic_id: uuid::Uuid::from_u128(id),
                partitions: vec![MetadataResponsePartition {
                    leader_id: leader,
                    leader_epoch: epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_old_answer_does_not_bring_an_old_leader_back() {
        let mut metadata = Metadata::default();
        let leader = |metadata: &Metadata| {
            metadata.topics[&TopicName::from("orders")].partitions[&PartitionId(0)].leader
        };
        for (response, expected) in [
            (answer(1, 5, 1), Some(NodeId(1))),
            (answer(2, 4, 1), Some(NodeId(1))),
            (answer(-1, 6, 1), None),
            (answer(3, 6, 1), Some(NodeId(3))),
            (answer(2, 0, 2), Some(NodeId(2))),
        ] {
            metadata.merge(&response);
            assert_eq!(leader(&metadata), expected, "{response:?}");
        }
    }
}
