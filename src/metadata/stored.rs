//! Records as they are stored: a frame version, the record's type and version as varints, then the
//! message. A new version is written only once `metadata.version` allows it; what is not known
//! here is an error that stops the node.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::metadata::{
    BrokerRegistration, Cause, ConfigResource, Endpoint, FeatureRange, LeaderRecoveryState,
    MetadataRecord, Partition, SecurityProtocol,
};
use crate::protocol::{DecodeError, EncodeError, Message, Reader, Str, Writer};
use crate::types::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, Offset, PartitionEpoch,
    PartitionId, ProducerId, TopicId, TopicName,
};

/// How the type and version of a record are written.
const FRAME_VERSION: u32 = 1;

crate::message! {
    /// Type 1: opens a snapshot.
    pub message StoredSnapshotHeader (flexible 0) {
        image_version: i64 [0..];
        offset: i64 [0..];
        next_broker_epoch: i64 [0..];
    }

    /// Type 2: the cluster has an id.
    pub message StoredClusterFormed (flexible 0) {
        cluster_id: Str [0..];
    }

    /// A listener of a broker.
    pub struct StoredEndpoint {
        listener: Str [0..];
        host: Str [0..];
        port: u16 [0..];
        security_protocol: i16 [0..];
    }

    /// A feature that a broker knows.
    pub struct StoredFeatureRange {
        name: Str [0..];
        min: i16 [0..];
        max: i16 [0..];
    }

    /// Type 3: a broker's registration.
    pub message StoredBroker (flexible 0) {
        node_id: i32 [0..];
        broker_epoch: i64 [0..];
        incarnation: Uuid [0..];
        endpoints: Vec<StoredEndpoint> [0..];
        rack: Option<Str> [0..];
        fenced: bool [0..];
        in_controlled_shutdown: bool [0..];
        directories: Vec<Uuid> [0..];
        features: Vec<StoredFeatureRange> [0..];
        cause: i16 [0..];
        cause_node: i32 [0..];
        has_offline_directories: bool [0.., tag 0];
    }

    /// Type 4: a broker is gone.
    pub message StoredBrokerRemoved (flexible 0) {
        node_id: i32 [0..];
        broker_epoch: i64 [0..];
    }

    /// Type 5: a topic is there.
    pub message StoredTopic (flexible 0) {
        name: Str [0..];
        topic_id: Uuid [0..];
    }

    /// Type 6: a partition's registration. The tagged fields are rare.
    pub message StoredPartition (flexible 0) {
        topic_id: Uuid [0..];
        partition: i32 [0..];
        replicas: Vec<i32> [0..];
        directories: Vec<Uuid> [0..];
        isr: Vec<i32> [0..];
        leader: i32 [0..];
        leader_epoch: i32 [0..];
        partition_epoch: i32 [0..];
        cause: i16 [0..];
        cause_node: i32 [0..];
        elr: Vec<i32> [0.., tag 0];
        last_known_elr: Vec<i32> [0.., tag 1];
        recovery: i8 [0.., tag 2];
        adding: Vec<i32> [0.., tag 3];
        removing: Vec<i32> [0.., tag 4];
    }

    /// Type 7: a topic is gone.
    pub message StoredTopicRemoved (flexible 0) {
        topic_id: Uuid [0..];
    }

    /// Type 8: a configuration value. Resource types are Kafka's: 2 topic, 4 broker (an empty name
    /// is every broker), 16 client metrics, 32 group.
    pub message StoredConfig (flexible 0) {
        resource_type: i8 [0..];
        resource_name: Str [0..];
        key: Str [0..];
        value: Option<Str> [0..];
    }

    /// Type 9: a block of producer ids was given out.
    pub message StoredProducerIds (flexible 0) {
        node_id: i32 [0..];
        broker_epoch: i64 [0..];
        next_producer_id: i64 [0..];
    }

    /// Type 10: a feature's level.
    pub message StoredFeature (flexible 0) {
        name: Str [0..];
        level: i16 [0..];
    }
}

/// Bytes that are not a metadata record of a kind that is known here.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The frame is of a later making.
    #[error(
        "metadata record with frame version {0}, of which only 1 is known: this node is too old"
    )]
    UnknownFrame(u32),
    /// The type is of a later making.
    #[error("metadata record of unknown type {0}: this node is too old for the cluster's metadata")]
    UnknownType(u32),
    /// The version is of a later making.
    #[error(
        "metadata record of type {kind} in unknown version {version}: this node is too old for the cluster's metadata"
    )]
    UnknownVersion {
        /// The type.
        kind: u32,
        /// The version.
        version: u32,
    },
    /// The bytes do not hold what they should.
    #[error("metadata record is damaged: {0}")]
    Damaged(#[from] DecodeError),
    /// A number stands for nothing that is known here.
    #[error("metadata record has {what} {value}, which is not known")]
    UnknownValue {
        /// What the number stands for.
        what: &'static str,
        /// The number.
        value: i64,
    },
    /// There is more than the record.
    #[error("metadata record has {0} bytes too many")]
    Trailing(usize),
}

impl MetadataRecord {
    /// The number that the record's type is stored under.
    pub fn type_id(&self) -> u32 {
        match self {
            Self::SnapshotHeader { .. } => 1,
            Self::ClusterFormed { .. } => 2,
            Self::Broker { .. } => 3,
            Self::BrokerRemoved { .. } => 4,
            Self::Topic { .. } => 5,
            Self::Partition { .. } => 6,
            Self::TopicRemoved { .. } => 7,
            Self::Config { .. } => 8,
            Self::ProducerIds { .. } => 9,
            Self::Feature { .. } => 10,
        }
    }

    /// The record's bytes.
    ///
    /// # Errors
    /// A text or list is too long for its field.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        writer.unsigned_varint(FRAME_VERSION);
        writer.unsigned_varint(self.type_id());
        writer.unsigned_varint(0);
        let w = &mut writer;
        match self {
            Self::SnapshotHeader { version, offset, next_broker_epoch } => StoredSnapshotHeader {
                image_version: i64::try_from(*version).unwrap_or(i64::MAX),
                offset: offset.0,
                next_broker_epoch: next_broker_epoch.0,
            }
            .encode(w, 0),
            Self::ClusterFormed { cluster_id } => {
                StoredClusterFormed { cluster_id: text(cluster_id) }.encode(w, 0)
            }
            Self::Broker { registration, cause } => store_broker(registration, *cause).encode(w, 0),
            Self::BrokerRemoved { node_id, broker_epoch } => {
                StoredBrokerRemoved { node_id: node_id.0, broker_epoch: broker_epoch.0 }
                    .encode(w, 0)
            }
            Self::Topic { name, topic_id } => {
                StoredTopic { name: text(name), topic_id: topic_id.0 }.encode(w, 0)
            }
            Self::Partition { topic_id, partition, state, cause } => {
                store_partition(*topic_id, *partition, state, *cause).encode(w, 0)
            }
            Self::TopicRemoved { topic_id } => {
                StoredTopicRemoved { topic_id: topic_id.0 }.encode(w, 0)
            }
            Self::Config { resource, key, value } => {
                store_config(resource, key, value.as_deref()).encode(w, 0)
            }
            Self::ProducerIds { node_id, broker_epoch, next_producer_id } => StoredProducerIds {
                node_id: node_id.0,
                broker_epoch: broker_epoch.0,
                next_producer_id: next_producer_id.0,
            }
            .encode(w, 0),
            Self::Feature { name, level } => {
                StoredFeature { name: text(name), level: *level }.encode(w, 0)
            }
        }?;
        Ok(writer.into_bytes())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are damaged, or were written by a newer node.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let frame = reader.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::UnknownFrame(frame));
        }
        let kind = reader.unsigned_varint()?;
        if !(1..=10).contains(&kind) {
            return Err(RecordError::UnknownType(kind));
        }
        let version = reader.unsigned_varint()?;
        if version != 0 {
            return Err(RecordError::UnknownVersion { kind, version });
        }
        let record = read_body(kind, &mut reader)?;
        match reader.remaining() {
            0 => Ok(record),
            more => Err(RecordError::Trailing(more)),
        }
    }
}

fn read_body(kind: u32, r: &mut Reader) -> Result<MetadataRecord, RecordError> {
    Ok(match kind {
        1 => {
            let stored = StoredSnapshotHeader::decode(r, 0)?;
            MetadataRecord::SnapshotHeader {
                version: u64::try_from(stored.image_version).map_err(|_| {
                    RecordError::UnknownValue { what: "image version", value: stored.image_version }
                })?,
                offset: Offset(stored.offset),
                next_broker_epoch: BrokerEpoch(stored.next_broker_epoch),
            }
        }
        2 => {
            let stored = StoredClusterFormed::decode(r, 0)?;
            MetadataRecord::ClusterFormed { cluster_id: stored.cluster_id.as_str().to_owned() }
        }
        3 => load_broker(StoredBroker::decode(r, 0)?)?,
        4 => {
            let stored = StoredBrokerRemoved::decode(r, 0)?;
            MetadataRecord::BrokerRemoved {
                node_id: NodeId(stored.node_id),
                broker_epoch: BrokerEpoch(stored.broker_epoch),
            }
        }
        5 => {
            let stored = StoredTopic::decode(r, 0)?;
            MetadataRecord::Topic {
                name: TopicName::new(&stored.name),
                topic_id: TopicId(stored.topic_id),
            }
        }
        6 => load_partition(StoredPartition::decode(r, 0)?)?,
        7 => {
            let stored = StoredTopicRemoved::decode(r, 0)?;
            MetadataRecord::TopicRemoved { topic_id: TopicId(stored.topic_id) }
        }
        8 => load_config(StoredConfig::decode(r, 0)?)?,
        9 => {
            let stored = StoredProducerIds::decode(r, 0)?;
            MetadataRecord::ProducerIds {
                node_id: NodeId(stored.node_id),
                broker_epoch: BrokerEpoch(stored.broker_epoch),
                next_producer_id: ProducerId(stored.next_producer_id),
            }
        }
        10 => {
            let stored = StoredFeature::decode(r, 0)?;
            MetadataRecord::Feature { name: stored.name.as_str().to_owned(), level: stored.level }
        }
        other => return Err(RecordError::UnknownType(other)),
    })
}

fn store_broker(registration: &BrokerRegistration, cause: Cause) -> StoredBroker {
    let (cause, cause_node) = cause.to_parts();
    StoredBroker {
        node_id: registration.node_id.0,
        broker_epoch: registration.broker_epoch.0,
        incarnation: registration.incarnation.0,
        endpoints: registration.endpoints.iter().map(store_endpoint).collect(),
        rack: registration.rack.as_deref().map(text),
        fenced: registration.fenced,
        in_controlled_shutdown: registration.in_controlled_shutdown,
        directories: registration.directories.iter().map(|directory| directory.0).collect(),
        features: registration.features.iter().map(store_feature).collect(),
        cause,
        cause_node: cause_node.0,
        has_offline_directories: registration.has_offline_directories,
    }
}

fn store_endpoint(endpoint: &Endpoint) -> StoredEndpoint {
    StoredEndpoint {
        listener: text(&endpoint.listener),
        host: text(&endpoint.host),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol.code(),
    }
}

fn store_feature(feature: &FeatureRange) -> StoredFeatureRange {
    StoredFeatureRange { name: text(&feature.name), min: feature.min, max: feature.max }
}

fn load_broker(stored: StoredBroker) -> Result<MetadataRecord, RecordError> {
    let endpoint = |stored: StoredEndpoint| {
        let code = stored.security_protocol;
        let security_protocol = SecurityProtocol::from_code(code)
            .ok_or_else(|| unknown("security protocol", i64::from(code)))?;
        let (listener, host) = (owned(&stored.listener), owned(&stored.host));
        Ok(Endpoint { listener, host, port: stored.port, security_protocol })
    };
    let feature = |stored: StoredFeatureRange| FeatureRange {
        name: owned(&stored.name),
        min: stored.min,
        max: stored.max,
    };
    let registration = BrokerRegistration {
        node_id: NodeId(stored.node_id),
        broker_epoch: BrokerEpoch(stored.broker_epoch),
        incarnation: IncarnationId(stored.incarnation),
        endpoints: stored
            .endpoints
            .into_iter()
            .map(endpoint)
            .collect::<Result<_, RecordError>>()?,
        rack: stored.rack.as_ref().map(owned),
        fenced: stored.fenced,
        in_controlled_shutdown: stored.in_controlled_shutdown,
        directories: stored.directories.into_iter().map(DirectoryId).collect(),
        has_offline_directories: stored.has_offline_directories,
        features: stored.features.into_iter().map(feature).collect(),
    };
    let cause = load_cause(stored.cause, stored.cause_node)?;
    Ok(MetadataRecord::Broker { registration: Arc::new(registration), cause })
}

fn store_partition(
    topic_id: TopicId,
    partition: PartitionId,
    state: &Partition,
    cause: Cause,
) -> StoredPartition {
    let (cause, cause_node) = cause.to_parts();
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<i32>>();
    StoredPartition {
        topic_id: topic_id.0,
        partition: partition.0,
        replicas: numbers(&state.replicas),
        directories: state.directories.iter().map(|directory| directory.0).collect(),
        isr: numbers(&state.isr),
        leader: state.leader.unwrap_or(NodeId::NONE).0,
        leader_epoch: state.leader_epoch.0,
        partition_epoch: state.partition_epoch.0,
        cause,
        cause_node: cause_node.0,
        elr: numbers(&state.elr),
        last_known_elr: numbers(&state.last_known_elr),
        recovery: state.recovery.code(),
        adding: numbers(&state.adding),
        removing: numbers(&state.removing),
    }
}

fn load_partition(stored: StoredPartition) -> Result<MetadataRecord, RecordError> {
    let nodes = |numbers: Vec<i32>| numbers.into_iter().map(NodeId).collect::<Vec<_>>();
    let state = Partition {
        replicas: nodes(stored.replicas),
        directories: stored.directories.into_iter().map(DirectoryId).collect(),
        isr: nodes(stored.isr),
        elr: nodes(stored.elr),
        last_known_elr: nodes(stored.last_known_elr),
        leader: Some(NodeId(stored.leader)).filter(|leader| *leader != NodeId::NONE),
        leader_epoch: LeaderEpoch(stored.leader_epoch),
        partition_epoch: PartitionEpoch(stored.partition_epoch),
        recovery: LeaderRecoveryState::from_code(stored.recovery)
            .ok_or_else(|| unknown("recovery state", i64::from(stored.recovery)))?,
        adding: nodes(stored.adding),
        removing: nodes(stored.removing),
    };
    Ok(MetadataRecord::Partition {
        topic_id: TopicId(stored.topic_id),
        partition: PartitionId(stored.partition),
        state: Arc::new(state),
        cause: load_cause(stored.cause, stored.cause_node)?,
    })
}

fn store_config(resource: &ConfigResource, key: &str, value: Option<&str>) -> StoredConfig {
    let (resource_type, resource_name) = (resource.type_number(), text(&resource.name()));
    StoredConfig { resource_type, resource_name, key: text(key), value: value.map(text) }
}

fn load_config(stored: StoredConfig) -> Result<MetadataRecord, RecordError> {
    let resource = match (stored.resource_type, stored.resource_name.as_str()) {
        (ConfigResource::TOPIC, name) => ConfigResource::Topic(TopicName::new(name)),
        (ConfigResource::BROKER, "") => ConfigResource::DefaultBroker,
        (ConfigResource::BROKER, node) => {
            let node = node.parse().map_err(|_| unknown("broker resource of type", 4))?;
            ConfigResource::Broker(NodeId(node))
        }
        (ConfigResource::CLIENT_METRICS, name) => ConfigResource::ClientMetrics(name.to_owned()),
        (ConfigResource::GROUP, name) => ConfigResource::Group(name.to_owned()),
        (other, _) => return Err(unknown("configuration resource type", i64::from(other))),
    };
    let value = stored.value.as_ref().map(owned);
    Ok(MetadataRecord::Config { resource, key: owned(&stored.key), value })
}

fn load_cause(code: i16, node: i32) -> Result<Cause, RecordError> {
    Cause::from_parts(code, NodeId(node)).ok_or_else(|| unknown("cause", i64::from(code)))
}

fn unknown(what: &'static str, value: i64) -> RecordError {
    RecordError::UnknownValue { what, value }
}

fn text(text: &str) -> Str {
    Str::from(text.to_owned())
}

fn owned(text: &Str) -> String {
    text.as_str().to_owned()
}
