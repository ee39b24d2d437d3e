//! The replicas of this node: who leads, who follows, what is committed.
//!
//! - [`epochs`]: checks of leader epochs and divergence, shared by both sides (pure)
//! - [`leader`]: a partition's leader: follower progress, ISR, high watermark, acks (pure)
//! - [`follower`]: a partition's follower: what to fetch, when to truncate (pure)
//! - `partition`: one replica: its log, its role, who waits for it
//! - `replicas`: all replicas of the node, kept as the metadata says
//! - `fetch`: reading many partitions with a long poll; waiting for acknowledgements
//! - `deletions`: dropping the oldest records of many partitions, on all their replicas
//! - `fetcher`: the tasks that fetch from other nodes
//! - `repair`: damaged segments are mended from other replicas
//! - `isr_changes`: proposals on their way to the controller
//! - `waiters`: who is woken when a partition moves
//! - `hosting`, `places`: in which data directory each replica lies
//! - `moves`: replicas on their way to another data directory
//! - `directories`: the data directories as tools are shown them
//! - `settings`: a topic's configuration, as its replicas need it
//! - `suspects`: leaders that are probably dead, until the controller says so
//! - `options`: the node's settings, and what is needed from outside
//!
//! The pure parts are the only places that move the high watermark or the ISR.

mod deletions;
mod directories;
pub mod epochs;
mod fetch;
mod fetcher;
pub mod follower;
mod hosting;
mod isr_changes;
pub mod leader;
mod moves;
mod options;
mod partition;
mod places;
mod repair;
mod replicas;
mod settings;
mod suspects;
mod waiters;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod tests;

pub use deletions::Deletion;
pub use directories::{DirectoryDescription, LogDescription};
pub use fetch::FetchSpec;
pub use options::{AlterIsr, IsrChange, PlacedReplica, ReplicaOptions, Surrounds};
pub use partition::{
    CurrentLeader, FetchPartition, FetchedPartition, FollowerDescription, Isolation, ListOffset,
    ListedOffset, Movements, Partition, PartitionDescription, ProduceError, Produced,
};
pub use repair::{MendOutcome, SegmentMend};
pub use replicas::{Replicas, ReplicasParts};
pub use settings::TopicSettings;
