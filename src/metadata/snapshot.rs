//! An image as the records that rebuild it.

use std::sync::Arc;

use crate::metadata::{ApplyError, Cause, ConfigResource, Image, MetadataRecord};
use crate::types::{BrokerEpoch, NodeId};

impl Image {
    /// The records that rebuild this very image, its version and position too.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::SnapshotHeader {
            version: self.version,
            offset: self.offset,
            next_broker_epoch: self.next_broker_epoch,
        }];
        records.extend(self.cluster_id.iter().map(|cluster_id| MetadataRecord::ClusterFormed {
            cluster_id: cluster_id.to_string(),
        }));
        records.extend(
            self.features
                .iter()
                .map(|(name, &level)| MetadataRecord::Feature { name: name.clone(), level }),
        );
        records.extend(self.brokers.values().map(|registration| MetadataRecord::Broker {
            registration: registration.clone(),
            cause: Cause::Snapshot,
        }));
        for (resource, configs) in &self.configs {
            records.extend(configs.iter().map(|(key, value)| config(resource, key, value)));
        }
        for topic in self.topics.values() {
            let name = topic.name.clone();
            records.push(MetadataRecord::Topic { name: name.clone(), topic_id: topic.id });
            let resource = ConfigResource::Topic(name);
            records.extend(topic.configs.iter().map(|(key, value)| config(&resource, key, value)));
            records.extend(topic.partitions.iter().map(|(&partition, state)| {
                let (topic_id, state) = (topic.id, Arc::clone(state));
                MetadataRecord::Partition { topic_id, partition, state, cause: Cause::Snapshot }
            }));
        }
        records.push(MetadataRecord::ProducerIds {
            node_id: NodeId::NONE,
            broker_epoch: BrokerEpoch::NONE,
            next_producer_id: self.next_producer_id,
        });
        records
    }

    /// The image that a snapshot's records describe.
    ///
    /// # Errors
    /// The records do not fit each other.
    pub fn from_records<'a>(
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<Self, ApplyError> {
        let mut image = Self::default();
        records.into_iter().try_for_each(|record| image.apply(record))?;
        Ok(image)
    }
}

fn config(resource: &ConfigResource, key: &str, value: &str) -> MetadataRecord {
    MetadataRecord::Config {
        resource: resource.clone(),
        key: key.to_owned(),
        value: Some(value.to_owned()),
    }
}
