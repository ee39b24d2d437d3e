//! Identifiers, offsets and epochs as distinct types, so that two numbers of different meaning
//! cannot change places in a call.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// A node's `node.id` (Kafka's broker id). Negative values never name a node.
    NodeId(i32)
}
number! {
    /// A partition's index within its topic, from 0.
    PartitionId(i32)
}
number! {
    /// A record's position in a partition's log. The log end offset is one past the last record.
    Offset(i64)
}
number! {
    /// The reign of one partition leader (KIP-101). Rises when the leader changes or a replica is
    /// removed, never on an ISR shrink (rule 17). -1 means "not known" on the wire.
    LeaderEpoch(i32)
}
number! {
    /// The version of a partition's registration in the metadata; rises with every change to it.
    PartitionEpoch(i32)
}
number! {
    /// The offset in the metadata log at which a broker's incarnation was registered (KIP-631).
    BrokerEpoch(i64)
}
number! {
    /// An idempotent producer's id (KIP-98). -1: the producer is not idempotent.
    ProducerId(i64)
}
number! {
    /// The generation of a producer id; an older one is fenced. -1: not idempotent.
    ProducerEpoch(i16)
}

impl NodeId {
    /// What the wire says for "no node": no leader, no controller, an ordinary consumer.
    pub const NONE: NodeId = NodeId(-1);
}

impl LeaderEpoch {
    /// "Not known" or "do not check" on the wire.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// The next reign.
    pub fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The version after this one.
    pub fn next(self) -> PartitionEpoch {
        PartitionEpoch(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// "Not known" on the wire.
    pub const NONE: BrokerEpoch = BrokerEpoch(-1);
}

impl ProducerId {
    /// Not an idempotent producer.
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// Not an idempotent producer.
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl Offset {
    /// The first offset of a new log.
    pub const ZERO: Offset = Offset(0);
    /// "Not known" on the wire.
    pub const UNKNOWN: Offset = Offset(-1);

    /// The offset `count` records later.
    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }

    /// How many offsets lie between `earlier` and this one; negative if `earlier` is later.
    pub fn since(self, earlier: Offset) -> i64 {
        self.0 - earlier.0
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Shown as Kafka shows uuids: 22 characters of URL-safe base64.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The all-zero uuid, which names nothing.
            pub const ZERO: $name = $name(Uuid::nil());
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&uuid_to_base64(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), uuid_to_base64(self.0))
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl FromStr for $name {
            type Err = UuidError;

            fn from_str(text: &str) -> Result<Self, UuidError> {
                uuid_from_base64(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A topic's identity; a topic created again under the same name gets another (KIP-516).
    TopicId
}
uuid_id! {
    /// A data directory's identity, made when it is first formatted (KIP-858).
    DirectoryId
}
uuid_id! {
    /// One start of one broker process (KIP-631).
    IncarnationId
}

/// A text that is not a uuid in Kafka's notation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a uuid of 22 base64 characters")]
pub struct UuidError(String);

/// Kafka's notation: URL-safe base64 without padding, 22 characters.
pub fn uuid_to_base64(uuid: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(uuid.as_bytes())
}

/// Reads Kafka's notation.
pub fn uuid_from_base64(text: &str) -> Result<Uuid, UuidError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .ok_or_else(|| UuidError(text.to_owned()))
}

/// A topic's name: 1 to 249 characters of `[a-zA-Z0-9._-]`, neither `.` nor `..`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Takes a name as it is; whether it is legal is the controller's to say when a topic is made.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One partition by topic name; shown as Kafka shows it, `orders-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's index in it.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: PartitionId(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition by topic id, which survives a topic being made again under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_use_kafkas_notation() {
        let id = TopicId(Uuid::from_u128(1));
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(id));
        assert!("not a uuid".parse::<TopicId>().is_err());
    }

    #[test]
    fn a_partition_reads_as_kafka_names_its_directory() {
        assert_eq!(TopicPartition::new("orders", 3).to_string(), "orders-3");
    }
}
