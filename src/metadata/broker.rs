//! A broker as it registered itself.

use serde::{Deserialize, Serialize};

use crate::types::{BrokerEpoch, DirectoryId, IncarnationId, NodeId};

/// How a listener secures its connections; the numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over a plain connection.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Every protocol, in the order of its numbers.
    pub const ALL: [SecurityProtocol; 4] =
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's number of it.
    pub fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// The protocol of that number.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.code() == code)
    }

    /// Its name in `listener.security.protocol.map`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

/// Where a broker is reached on one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, e.g. `PLAINTEXT`.
    pub listener: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// How the listener secures its connections.
    pub security_protocol: SecurityProtocol,
}

/// The levels of one feature that a broker knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeatureRange {
    /// The feature's name, e.g. `metadata.version`.
    pub name: String,
    /// The lowest level known.
    pub min: i16,
    /// The highest level known.
    pub max: i16,
}

/// One broker of the cluster. Registered means fenced, until it has caught up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its `node.id`.
    pub node_id: NodeId,
    /// The number of this registration; a later registration has a greater one (KIP-631).
    pub broker_epoch: BrokerEpoch,
    /// The process that registered.
    pub incarnation: IncarnationId,
    /// Where it is reached, one entry per listener that clients and brokers use.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// A fenced broker leads nothing, is in no ISR and is shown to no client.
    pub fenced: bool,
    /// It has asked to stop: it gets no new leadership and joins no ISR (KIP-841).
    pub in_controlled_shutdown: bool,
    /// Its data directories that are online.
    pub directories: Vec<DirectoryId>,
    /// It has data directories that it cannot use now. Which ones is not known of those that it
    /// could not even open; what they hold may come back with them.
    pub has_offline_directories: bool,
    /// The features that it knows.
    pub features: Vec<FeatureRange>,
}

impl BrokerRegistration {
    /// Whether it may lead and join an ISR: neither fenced nor about to stop.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether its data directory `directory` is online.
    pub fn has_directory(&self, directory: DirectoryId) -> bool {
        self.directories.contains(&directory)
    }

    /// Where it is reached on `listener`.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}
