//! The facts that change an image. Facts, never commands: nodes of different versions fold the
//! same records into the same image.

use std::sync::Arc;

use crate::metadata::{BrokerRegistration, Cause, ConfigResource, Partition};
use crate::types::{BrokerEpoch, NodeId, Offset, PartitionId, ProducerId, TopicId, TopicName};

/// One fact. A record about a broker or partition states all of it as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRecord {
    /// Opens a snapshot: where the image that follows stood.
    SnapshotHeader {
        /// [`crate::metadata::Image::version`].
        version: u64,
        /// [`crate::metadata::Image::offset`].
        offset: Offset,
        /// The epoch that the next registration gets.
        next_broker_epoch: BrokerEpoch,
    },
    /// The cluster was formed under this id.
    ClusterFormed {
        /// Kafka's `cluster.id`.
        cluster_id: String,
    },
    /// A broker registered, or its registration changed.
    Broker {
        /// The registration from now on.
        registration: Arc<BrokerRegistration>,
        /// Why.
        cause: Cause,
    },
    /// A broker is not part of the cluster any more.
    BrokerRemoved {
        /// Which.
        node_id: NodeId,
        /// The registration that ended.
        broker_epoch: BrokerEpoch,
    },
    /// A topic was created; its partitions follow.
    Topic {
        /// Its name.
        name: TopicName,
        /// Its identity.
        topic_id: TopicId,
    },
    /// A partition was created or changed.
    Partition {
        /// Its topic.
        topic_id: TopicId,
        /// Its index.
        partition: PartitionId,
        /// The registration from now on.
        state: Arc<Partition>,
        /// Why.
        cause: Cause,
    },
    /// A topic was deleted, with its partitions and configuration.
    TopicRemoved {
        /// Which.
        topic_id: TopicId,
    },
    /// One configuration value was set, or removed.
    Config {
        /// Whose.
        resource: ConfigResource,
        /// The key.
        key: String,
        /// The value from now on; none: the default holds again.
        value: Option<String>,
    },
    /// A broker was given all producer ids from the last block's end up to `next_producer_id`.
    ProducerIds {
        /// The broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The first producer id that nobody was given.
        next_producer_id: ProducerId,
    },
    /// A feature was set to a level; 0 means that it is off.
    Feature {
        /// Its name.
        name: String,
        /// Its level from now on.
        level: i16,
    },
}

impl MetadataRecord {
    /// Whether it counts against the limit of partition changes in one entry.
    pub fn is_partition_change(&self) -> bool {
        matches!(self, Self::Partition { .. })
    }
}
