//! The state of the cluster as of one position of the metadata log. Persistent: a clone is cheap
//! and shares all that does not differ.

use std::sync::Arc;

use imbl::OrdMap;

use crate::metadata::{
    BrokerRegistration, ConfigMap, ConfigResource, MetadataRecord, Partition, Topic,
};
use crate::types::{
    BrokerEpoch, DirectoryId, NodeId, Offset, PartitionId, ProducerId, TopicId, TopicName,
    TopicPartition,
};

/// The cluster's metadata. Changed by [`Image::apply`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(super) version: u64,
    pub(super) offset: Offset,
    pub(super) next_broker_epoch: BrokerEpoch,
    /// The id that the cluster was formed under; none before that.
    pub cluster_id: Option<Arc<str>>,
    /// The registered brokers, fenced ones too.
    pub brokers: OrdMap<NodeId, Arc<BrokerRegistration>>,
    /// The topics by name.
    pub topics: OrdMap<TopicName, Arc<Topic>>,
    pub(super) topic_names: OrdMap<TopicId, TopicName>,
    /// The configurations of everything but topics, which carry their own.
    pub(super) configs: OrdMap<ConfigResource, ConfigMap>,
    /// The first producer id that nobody was given.
    pub next_producer_id: ProducerId,
    /// The finalised features and their levels.
    pub features: OrdMap<String, i16>,
}

/// A record that does not fit the image: the log is damaged, or was written by other code. A node
/// that meets one must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A record about a topic that does not exist.
    #[error("a metadata record names topic id {0}, which does not exist")]
    UnknownTopic(TopicId),
    /// A configuration for a topic that does not exist.
    #[error("a metadata record configures topic {0}, which does not exist")]
    UnknownTopicName(TopicName),
    /// A topic that already exists under its name or id.
    #[error("a metadata record creates topic {0}, which already exists")]
    TopicExists(TopicName),
    /// A partition's epoch did not rise, or its leader epoch fell.
    #[error("a metadata record takes partition {0} back to an earlier epoch")]
    EpochWentBack(TopicPartition),
    /// A broker's registration is older than the one that is known.
    #[error("a metadata record takes broker {0} back to an earlier registration")]
    BrokerEpochWentBack(NodeId),
    /// A record about a broker that is not registered.
    #[error("a metadata record names broker {0}, which is not registered")]
    UnknownBroker(NodeId),
    /// Producer ids would be given out twice.
    #[error("a metadata record takes the producer ids back to {0}")]
    ProducerIdsWentBack(ProducerId),
    /// A snapshot's header in the middle of things.
    #[error("a snapshot header does not stand at the beginning")]
    StrayHeader,
    /// The cluster has another id.
    #[error("a metadata record renames the cluster to {0}")]
    ClusterRenamed(String),
}

impl Default for Image {
    fn default() -> Self {
        Self {
            version: 0,
            offset: Offset::UNKNOWN,
            next_broker_epoch: BrokerEpoch(1),
            cluster_id: None,
            brokers: OrdMap::new(),
            topics: OrdMap::new(),
            topic_names: OrdMap::new(),
            configs: OrdMap::new(),
            next_producer_id: ProducerId(0),
            features: OrdMap::new(),
        }
    }
}

impl Image {
    /// How many entries with records are folded in. Decisions are made on a version and refused if
    /// it is not the current one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The position in the metadata log up to which (inclusive) entries are folded in; -1 if none.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The epoch that the next registration gets; greater than any given before.
    pub fn next_broker_epoch(&self) -> BrokerEpoch {
        self.next_broker_epoch
    }

    /// A registered broker.
    pub fn broker(&self, node: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&node)
    }

    /// The brokers whose replica of `partition` lies in a data directory that is not online. A
    /// replica that was never given a directory is not among them.
    pub fn offline_replicas<'a>(
        &'a self,
        partition: &'a Partition,
    ) -> impl Iterator<Item = NodeId> + 'a {
        let replicas = partition.replicas.iter().zip(&partition.directories);
        replicas.filter_map(|(&node, &directory)| {
            let broker = self.broker(node)?;
            let is_offline = directory != DirectoryId::ZERO && !broker.has_directory(directory);
            is_offline.then_some(node)
        })
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(&id)?)
    }

    /// The name of the topic with that id.
    pub fn topic_name(&self, id: TopicId) -> Option<&TopicName> {
        self.topic_names.get(&id)
    }

    /// A partition by topic name.
    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<&Arc<Partition>> {
        self.topic(&topic_partition.topic)?.partition(topic_partition.partition)
    }

    /// Every partition of every topic, by name and index.
    pub fn partitions(
        &self,
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Arc<Partition>)> + '_ {
        self.topics.values().flat_map(|topic| {
            topic.partitions.iter().map(move |(index, partition)| (topic, *index, partition))
        })
    }

    /// The configuration that was set for `resource`; none if nothing was.
    pub fn config(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        match resource {
            ConfigResource::Topic(name) => self.topic(name).map(|topic| &topic.configs),
            ConfigResource::Broker(_)
            | ConfigResource::DefaultBroker
            | ConfigResource::Group(_)
            | ConfigResource::ClientMetrics(_) => self.configs.get(resource),
        }
    }

    /// Every resource but topics for which something was set, with what was set.
    pub fn configured(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> + '_ {
        self.configs.iter()
    }

    /// Folds one entry of the log in: its records, in order, and its position. An entry without
    /// records (a blank, a membership change) moves the position only.
    pub fn apply_entry<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
        offset: Offset,
    ) -> Result<(), ApplyError> {
        let mut records = records.into_iter().peekable();
        let changes = records.peek().is_some();
        for record in records {
            self.apply(record)?;
        }
        self.version += u64::from(changes);
        self.offset = offset;
        Ok(())
    }

    /// Folds one fact in. Neither version nor position move; see [`Image::apply_entry`].
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::SnapshotHeader { version, offset, next_broker_epoch } => {
                if *self != Image::default() {
                    return Err(ApplyError::StrayHeader);
                }
                self.version = *version;
                self.offset = *offset;
                self.next_broker_epoch = *next_broker_epoch;
            }
            MetadataRecord::ClusterFormed { cluster_id } => self.form(cluster_id)?,
            MetadataRecord::Broker { registration, cause: _ } => self.put_broker(registration)?,
            MetadataRecord::BrokerRemoved { node_id, broker_epoch: _ } => {
                self.brokers.remove(node_id).ok_or(ApplyError::UnknownBroker(*node_id))?;
            }
            MetadataRecord::Topic { name, topic_id } => self.put_topic(name, *topic_id)?,
            MetadataRecord::Partition { topic_id, partition, state, cause: _ } => {
                self.put_partition(*topic_id, *partition, state)?;
            }
            MetadataRecord::TopicRemoved { topic_id } => {
                let name =
                    self.topic_names.remove(topic_id).ok_or(ApplyError::UnknownTopic(*topic_id))?;
                self.topics.remove(&name);
            }
            MetadataRecord::Config { resource, key, value } => {
                self.put_config(resource, key, value.as_deref())?;
            }
            MetadataRecord::ProducerIds { next_producer_id, .. } => {
                if *next_producer_id < self.next_producer_id {
                    return Err(ApplyError::ProducerIdsWentBack(*next_producer_id));
                }
                self.next_producer_id = *next_producer_id;
            }
            MetadataRecord::Feature { name, level: 0 } => {
                self.features.remove(name);
            }
            MetadataRecord::Feature { name, level } => {
                self.features.insert(name.clone(), *level);
            }
        }
        Ok(())
    }

    fn form(&mut self, cluster_id: &str) -> Result<(), ApplyError> {
        if self.cluster_id.as_deref().is_some_and(|known| known != cluster_id) {
            return Err(ApplyError::ClusterRenamed(cluster_id.to_owned()));
        }
        self.cluster_id = Some(Arc::from(cluster_id));
        Ok(())
    }

    fn put_broker(&mut self, registration: &Arc<BrokerRegistration>) -> Result<(), ApplyError> {
        let (node, epoch) = (registration.node_id, registration.broker_epoch);
        if self.brokers.get(&node).is_some_and(|known| known.broker_epoch > epoch) {
            return Err(ApplyError::BrokerEpochWentBack(node));
        }
        self.brokers.insert(node, registration.clone());
        self.next_broker_epoch = self.next_broker_epoch.max(BrokerEpoch(epoch.0 + 1));
        Ok(())
    }

    fn put_topic(&mut self, name: &TopicName, id: TopicId) -> Result<(), ApplyError> {
        if self.topics.contains_key(name) || self.topic_names.contains_key(&id) {
            return Err(ApplyError::TopicExists(name.clone()));
        }
        let topic = Topic {
            name: name.clone(),
            id,
            partitions: OrdMap::new(),
            configs: ConfigMap::default(),
        };
        self.topics.insert(name.clone(), Arc::new(topic));
        self.topic_names.insert(id, name.clone());
        Ok(())
    }

    fn put_partition(
        &mut self,
        id: TopicId,
        partition: PartitionId,
        state: &Arc<Partition>,
    ) -> Result<(), ApplyError> {
        let topic = self
            .topic_names
            .get(&id)
            .and_then(|name| self.topics.get_mut(name))
            .ok_or(ApplyError::UnknownTopic(id))?;
        let went_back = topic.partition(partition).is_some_and(|known| {
            known.partition_epoch >= state.partition_epoch
                || known.leader_epoch > state.leader_epoch
        });
        if went_back {
            let name = topic.name.clone();
            return Err(ApplyError::EpochWentBack(TopicPartition { topic: name, partition }));
        }
        Arc::make_mut(topic).partitions.insert(partition, state.clone());
        Ok(())
    }

    fn put_config(
        &mut self,
        resource: &ConfigResource,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), ApplyError> {
        let configs = match resource {
            ConfigResource::Topic(name) => {
                let topic = self
                    .topics
                    .get_mut(name)
                    .ok_or_else(|| ApplyError::UnknownTopicName(name.clone()))?;
                &mut Arc::make_mut(topic).configs
            }
            ConfigResource::Broker(_)
            | ConfigResource::DefaultBroker
            | ConfigResource::Group(_)
            | ConfigResource::ClientMetrics(_) => self.configs.entry(resource.clone()).or_default(),
        };
        match value {
            Some(value) => Arc::make_mut(configs).insert(key.to_owned(), value.to_owned()),
            None => Arc::make_mut(configs).remove(key),
        };
        if self.configs.get(resource).is_some_and(|configs| configs.is_empty()) {
            self.configs.remove(resource);
        }
        Ok(())
    }
}
