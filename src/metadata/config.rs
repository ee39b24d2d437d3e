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
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(node) => write!(f, "broker {node}"),
            Self::DefaultBroker => f.write_str("default broker"),
        }
    }
}
