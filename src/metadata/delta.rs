//! What changed for one broker between two images: brokers react to this, never to commands.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::metadata::{ConfigResource, Image, Partition, Topic};
use crate::types::{NodeId, PartitionId, TopicId, TopicName, TopicPartition};

/// A replica on this broker whose registration is new or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReplica {
    /// Which partition, by name.
    pub topic_partition: TopicPartition,
    /// Its topic's identity.
    pub topic_id: TopicId,
    /// The registration from now on.
    pub partition: Arc<Partition>,
}

/// A replica that this broker holds no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedReplica {
    /// Which partition, by name.
    pub topic_partition: TopicPartition,
    /// Its topic's identity.
    pub topic_id: TopicId,
    /// The topic was deleted; otherwise the replica moved to other brokers.
    pub deleted: bool,
}

/// What changed for one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerDelta {
    /// Changed partitions that the broker leads now.
    pub leaders: Vec<LocalReplica>,
    /// Changed partitions of which it holds a replica and does not lead; they may have no leader.
    pub followers: Vec<LocalReplica>,
    /// Replicas to give up.
    pub removed: Vec<RemovedReplica>,
    /// Topics of which it holds a replica and whose own configuration changed.
    pub topic_configs_changed: Vec<TopicName>,
    /// What was set while it runs for all brokers or for this one changed.
    pub broker_configs_changed: bool,
    /// Some broker's registration changed: addresses, fencing, epochs.
    pub brokers_changed: bool,
}

impl BrokerDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == BrokerDelta::default()
    }
}

/// What changed for broker `node` from `old` to `new`. From an empty image: everything it holds.
pub fn broker_delta(old: &Image, new: &Image, node: NodeId) -> BrokerDelta {
    let own = ConfigResource::Broker(node);
    let configs = |image: &Image| {
        let of = |resource| image.config(resource).cloned();
        (of(&ConfigResource::DefaultBroker), of(&own))
    };
    let mut delta = BrokerDelta {
        brokers_changed: old.brokers != new.brokers,
        broker_configs_changed: configs(old) != configs(new),
        ..BrokerDelta::default()
    };
    for item in old.topics.diff(&new.topics) {
        match item {
            DiffItem::Add(_, topic) => delta.topic_added(topic, node),
            DiffItem::Remove(_, topic) => delta.topic_removed(topic, node),
            DiffItem::Update { old: (_, old), new: (_, new) } if old.id != new.id => {
                delta.topic_removed(old, node);
                delta.topic_added(new, node);
            }
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                delta.topic_changed(old, new, node);
            }
        }
    }
    delta
}

impl BrokerDelta {
    fn topic_added(&mut self, topic: &Topic, node: NodeId) {
        for (&index, partition) in &topic.partitions {
            self.replica_changed(topic, index, partition, node);
        }
    }

    fn topic_removed(&mut self, topic: &Topic, node: NodeId) {
        for (&index, partition) in &topic.partitions {
            if partition.is_replica(node) {
                self.removed.push(removed(topic, index, true));
            }
        }
    }

    fn topic_changed(&mut self, old: &Topic, new: &Topic, node: NodeId) {
        for (&index, partition) in &new.partitions {
            let before = old.partition(index);
            if before == Some(partition) {
                continue;
            }
            if !partition.is_replica(node) && before.is_some_and(|before| before.is_replica(node)) {
                self.removed.push(removed(new, index, false));
            }
            self.replica_changed(new, index, partition, node);
        }
        let holds_any = || new.partitions.values().any(|partition| partition.is_replica(node));
        if old.configs != new.configs && holds_any() {
            self.topic_configs_changed.push(new.name.clone());
        }
    }

    fn replica_changed(
        &mut self,
        topic: &Topic,
        index: PartitionId,
        partition: &Arc<Partition>,
        node: NodeId,
    ) {
        if !partition.is_replica(node) {
            return;
        }
        let replica = LocalReplica {
            topic_partition: TopicPartition { topic: topic.name.clone(), partition: index },
            topic_id: topic.id,
            partition: partition.clone(),
        };
        if partition.leader == Some(node) {
            self.leaders.push(replica);
        } else {
            self.followers.push(replica);
        }
    }
}

fn removed(topic: &Topic, index: PartitionId, deleted: bool) -> RemovedReplica {
    RemovedReplica {
        topic_partition: TopicPartition { topic: topic.name.clone(), partition: index },
        topic_id: topic.id,
        deleted,
    }
}
