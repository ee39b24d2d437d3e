//! The replicas of this node: who leads, who follows, what is committed.
//!
//! - [`epochs`]: checks of leader epochs and divergence, shared by both sides (pure)
//! - [`leader`]: a partition's leader: follower progress, ISR, high watermark, acks (pure)
//! - [`follower`]: a partition's follower: what to fetch, when to truncate (pure)
//! - `partition`: one replica: its log, its role, who waits for it
//! - `replicas`: all replicas of the node, kept as the metadata says
//! - `fetch`: reading many partitions with a long poll; waiting for acknowledgements
//! - `fetcher`: the tasks that fetch from other nodes
//! - `isr_changes`: proposals on their way to the controller
//! - `waiters`: who is woken when a partition moves
//! - `settings`: a topic's configuration, as its replicas need it
//! - `suspects`: leaders that are probably dead, until the controller says so
//! - `options`: the node's settings, and what is needed from outside
//!
//! The pure parts are the only places that move the high watermark or the ISR.

pub mod epochs;
mod fetch;
mod fetcher;
pub mod follower;
mod isr_changes;
pub mod leader;
mod options;
mod partition;
mod replicas;
mod settings;
mod suspects;
mod waiters;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod tests;

pub use fetch::FetchSpec;
pub use options::{AlterIsr, IsrChange, ReplicaOptions, Surrounds};
pub use partition::{
    CurrentLeader, FetchPartition, FetchedPartition, FollowerDescription, Isolation, ListOffset,
    ListedOffset, Movements, Partition, PartitionDescription, ProduceError, Produced,
};
pub use replicas::{Replicas, ReplicasParts};
pub use settings::TopicSettings;
