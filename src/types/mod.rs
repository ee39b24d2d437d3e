//! The ground floor: identifiers, offsets, epochs, error codes, the seams through which
//! time and randomness enter, and [`watch`], a value that changes. Imports nothing of Ottla; every other room imports it.

pub mod clock;
pub mod error_code;
pub mod ids;
pub mod machine;
pub mod random;
pub mod watch;

pub use clock::{Clock, Monotonic, TimestampMs};
pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, Offset, PartitionEpoch,
    PartitionId, ProducerEpoch, ProducerId, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
pub use random::Random;
