//! Coordinators: what a broker keeps in memory for clients, and in the partitions of an internal
//! topic for whoever leads them next.
//!
//! - [`shard`]: one partition of such a topic, around a pure machine
//! - [`shards`]: all partitions of one topic that this broker leads
//! - [`group`]: groups and committed offsets (pure); [`groups`]: what handlers call
//! - [`history`]: the rebalances of groups, as they are stored (pure)

pub mod group;
pub mod groups;
pub mod history;
pub mod shard;
pub mod shards;

pub use shards::partition_of;
