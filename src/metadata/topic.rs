//! One topic.

use std::sync::Arc;

use imbl::OrdMap;

use crate::metadata::{ConfigMap, Partition};
use crate::types::{PartitionId, TopicId, TopicName};

/// A topic, its partitions and its own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its identity: a topic made again under the same name has another.
    pub id: TopicId,
    /// Its partitions, without gaps from 0.
    pub partitions: OrdMap<PartitionId, Arc<Partition>>,
    /// The configuration that was set for it; what is absent has the broker's default.
    pub configs: ConfigMap,
}

impl Topic {
    /// One of its partitions.
    pub fn partition(&self, partition: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(&partition)
    }

    /// The replication factor that it was made with: that of its first partition.
    pub fn replication_factor(&self) -> usize {
        self.partitions.get_min().map_or(0, |(_, partition)| partition.replicas.len())
    }
}
