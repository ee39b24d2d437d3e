//! Dynamic configuration as the cluster stores it: names and texts. Meaning is given by
//! `topic_config` and by the broker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{NodeId, TopicName};

/// Configuration by key. Cheap to clone.
pub type ConfigMap = Arc<BTreeMap<String, String>>;

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigResource {
    /// One topic.
    Topic(TopicName),
    /// One broker.
    Broker(NodeId),
    /// Every broker that has no value of its own.
    DefaultBroker,
    /// One group, of any protocol; it need not exist.
    Group(String),
    /// One subscription to the metrics of clients (KIP-714).
    ClientMetrics(String),
}

impl ConfigResource {
    /// Kafka's number for topics, on the wire and in records.
    pub const TOPIC: i8 = 2;
    /// Kafka's number for brokers; an empty name stands for all of them.
    pub const BROKER: i8 = 4;
    /// Kafka's number for the loggers of a broker, which have no configuration here.
    pub const BROKER_LOGGER: i8 = 8;
    /// Kafka's number for subscriptions to the metrics of clients.
    pub const CLIENT_METRICS: i8 = 16;
    /// Kafka's number for groups.
    pub const GROUP: i8 = 32;

    /// Kafka's number of the resource's type.
    pub fn type_number(&self) -> i8 {
        match self {
            Self::Topic(_) => Self::TOPIC,
            Self::Broker(_) | Self::DefaultBroker => Self::BROKER,
            Self::Group(_) => Self::GROUP,
            Self::ClientMetrics(_) => Self::CLIENT_METRICS,
        }
    }

    /// Its name; empty for the default of all brokers.
    pub fn name(&self) -> String {
        match self {
            Self::Topic(name) => name.to_string(),
            Self::Broker(node) => node.to_string(),
            Self::DefaultBroker => String::new(),
            Self::Group(name) | Self::ClientMetrics(name) => name.clone(),
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(node) => write!(f, "broker {node}"),
            Self::DefaultBroker => f.write_str("default broker"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::ClientMetrics(name) => write!(f, "client metrics {name}"),
        }
    }
}
